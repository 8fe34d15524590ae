"""Sphinx configuration. `make docs` writes docs/_build/html."""

from __future__ import annotations

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
# Settings models and their validators are documented by their fields.
autodoc_mock_imports: list[str] = []
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"physml {release}"
html_copy_source = False
