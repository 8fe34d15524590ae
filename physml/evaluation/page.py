"""The frame of a report's page: one file that needs no other, in one style for all pipelines."""

from __future__ import annotations

import base64
import html
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff;
       max-width: 1100px; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p.note { color: #5a6675; margin-top: 0; }
p.warning { background: #fff4d6; border-left: 4px solid #e69f00; padding: .6rem .9rem; }
img { max-width: 100%; height: auto; }
div.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e2e6ec; text-align: right;
         white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
div.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr));
              gap: 1rem; align-items: start; }
div.figures .wide { grid-column: 1 / -1; }
"""


def whole_page(title: str, body: str) -> str:
    """Whole page of HTML.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def embedded(path: Path, text: str) -> str:
    """Image element that holds a PNG file, with its text for those who do not see it."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{data}">'
