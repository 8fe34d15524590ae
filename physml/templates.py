"""Pages and cards from templates, which lie in the package beside the code that fills them."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape


def picture(path: Path, text: str) -> Markup:
    """Image element that holds a PNG file, with its text for those who do not see it.

    Parameters
    ----------
    path : Path
        PNG file.
    text : str
        Plain text.
    """
    data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    return Markup(f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">')


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("physml", ""),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["picture"] = picture
    return made


def render(template: str, **values: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    template : str
        Path below the package, such as ``"cavities/learning/card.md.jinja"``. In those that end
        in ``.html.jinja`` texts are escaped.
    **values
        Names of the template; one that is missing is an error.
    """
    return _environment().get_template(template).render(**values)
