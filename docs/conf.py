"""Sphinx configuration. `make docs` writes docs/_build/html."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

import physml

project = "physml"
author = "The physml developers"
copyright = "2026, The physml developers"
version = release = physml.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
]
exclude_patterns = ["_build"]

# The reference is generated from the docstrings: one page a module, members included.
autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "none"  # types stand in the numpydoc sections
autodoc_preserve_defaults = True
numpydoc_show_class_members = False  # autodoc lists them already
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"physml {release}"
html_copy_source = False


# ------------------------------------------------- settings models are documented by their fields


def _is_settings(what: str, value: Any) -> bool:
    return what == "class" and isinstance(value, type) and issubclass(value, BaseModel)


def _no_signature(app, what, name, value, options, signature, returned):
    """Leave out the constructor of a settings model: all defaults of all sections, nested."""
    return ("", None) if _is_settings(what, value) else None


def _list_fields(app, what, name, value, options, lines: list[str]) -> None:
    """Add a list of the fields with default and description, as config.yaml has them."""
    if not _is_settings(what, value) or not value.model_fields:
        return
    lines += ["", ".. rubric:: Settings", ""]
    for key, field in value.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, BaseModel):
            lines += [f"``{key}``", f"    :class:`~{_path(default)}`. {field.description or ''}"]
        else:
            lines += [f"``{key}`` = ``{default!r}``", f"    {field.description or ''}"]
    lines += [""]


def _path(model: BaseModel) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _skip(app, what, name, value, skip, options):
    return True if name == "model_config" else None


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("autodoc-process-signature", _no_signature)
    app.connect("autodoc-process-docstring", _list_fields)
    app.connect("autodoc-skip-member", _skip)
