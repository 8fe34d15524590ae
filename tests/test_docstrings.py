"""Docstrings as the documentation reads them, so that its build is not the first to find faults.

Files are read as text: nothing of the package is imported.
"""

from __future__ import annotations

import ast
import io
import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Directive, Parser, directives, roles
from docutils.utils import new_document
from numpydoc.docscrape_sphinx import SphinxDocString

ROOT = Path(__file__).resolve().parents[1]

#: Folders of the package; the files at its top are the empty one.
PARTS = ("", *sorted(p.name for p in (ROOT / "physml").iterdir() if (p / "__init__.py").is_file()))

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module
#: Aliases that look like classes to autodoc, which then fails on their signature.
CRASHES = re.compile(r"(TypeVar\(|(tuple|list|dict|set|NDArray)\[)").match
SECTIONS = ("Parameters", "Other Parameters", "Attributes")


class Passed(Directive):
    """Directive of Sphinx that docutils does not know: what stands in it is read."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        found = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, found)
        return list(found.children)


for role in ("attr", "class", "data", "doc", "exc", "func", "meth", "mod", "obj", "ref"):
    roles.register_generic_role(role, nodes.emphasis)
for directive in ("deprecated", "only", "seealso", "versionadded", "versionchanged"):
    directives.register_directive(directive, Passed)

PARSER = Parser()
SETTINGS = get_default_settings(Parser)
SETTINGS.report_level = 2  # warnings
SETTINGS.warning_stream = io.StringIO()
#: Compiled once: that takes longer than reading a docstring.
CONFIG = {"show_class_members": False}
CONFIG["template"] = SphinxDocString("", config=CONFIG).template


def markup(text: str) -> Iterator[str]:
    """Faults that docutils finds in a text."""
    document = new_document("", SETTINGS)
    PARSER.parse(text, document)
    for message in document.findall(nodes.system_message):
        if message["level"] >= 2:
            yield message.astext()
    for reference in document.findall(nodes.substitution_reference):
        yield f"|{reference.astext()}| is a substitution that is nowhere defined"
    for reference in document.findall(nodes.reference):
        if "refname" in reference and reference["refname"] not in document.nameids:
            yield f"{reference.astext()}_ is a link to nowhere"


def arguments(node: Documented) -> list[str] | None:
    """Names of the parameters, with stars; None where they cannot be known from the text."""
    if isinstance(node, ast.ClassDef):
        made = [n for n in node.body if isinstance(n, Function) and n.name == "__init__"]
        return arguments(made[0]) if made else None
    if isinstance(node, ast.Module):
        return []
    given = node.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args)]
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [arg.arg for arg in given.kwonlyargs]
    return names + ([f"**{given.kwarg.arg}"] if given.kwarg else [])


def fields(node: Documented) -> set[str] | None:
    """Names that a class without bases has; None for all else."""
    if not isinstance(node, ast.ClassDef) or node.bases:
        return None
    found = {n.target.id for n in ast.walk(node) if isinstance(n, ast.AnnAssign | ast.For)
             and isinstance(n.target, ast.Name)}  # fmt: skip
    found |= {n.name for n in node.body if isinstance(n, Function)}
    return found | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}


def faults(text: str, node: Documented) -> Iterator[str]:
    """Faults of a docstring, in words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parsed = SphinxDocString(text, config=CONFIG)
        except ValueError as error:
            yield f"numpydoc cannot read it: {error}"
            return
    yield from (f"numpydoc: {warning.message}" for warning in caught)
    names: dict[str, list[str]] = {}
    for section in SECTIONS:
        for entry in parsed[section]:
            names.setdefault(section, []).extend(name.strip() for name in entry.name.split(","))
            if not entry.type and not entry.name.startswith("*"):
                yield f"{section}: {entry.name} has no type"
    listed = names.get("Parameters", []) + names.get("Other Parameters", [])
    known = arguments(node)
    if listed and known is not None:
        yield from (f"{name} is no parameter" for name in listed if name not in known)
        yield from (f"{name} is not described" for name in known if name not in listed)
    has = fields(node)
    if has is not None:
        yield from (f"{n} is no attribute" for n in names.get("Attributes", []) if n not in has)
    # Docstrings of settings, which have a base, are descriptions in the schema.
    if text.startswith("What ") and not getattr(node, "bases", None):
        yield "begins with What: name the thing itself"
    yield from markup(str(parsed))


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Documented]]:
    """Public functions and classes by name, and what is public in these."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def constants(source: str, tree: ast.Module) -> Iterator[str]:
    """Faults of the texts about constants and fields."""
    ends = set()
    for comment in re.finditer(r"(?:^ *#:.*\n)+", source, re.MULTILINE):
        line = source.count("\n", 0, comment.start()) + 1
        ends.add(source.count("\n", 0, comment.end()) + 1)
        plain = re.sub(r"^ *#: ?", "", comment.group(), flags=re.MULTILINE)
        yield from (f"line {line}: {fault}" for fault in markup(plain))
    for alias in tree.body:
        if (
            isinstance(alias, ast.Assign)
            and alias.lineno in ends
            and CRASHES(ast.unparse(alias.value))
        ):
            yield f"line {alias.lineno}: autodoc fails on such an alias with a comment after #:"
    for node in ast.walk(tree):
        body = node.body if isinstance(node, ast.Module | ast.ClassDef) else []
        for before, text in pairwise(body):
            if (
                isinstance(before, ast.Assign | ast.AnnAssign)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                yield f"line {text.lineno}: a text about a constant stands above it, after #:"


def faults_of(source: str) -> Iterator[str]:
    """Faults of the docstrings of a file, and of the comments of its constants."""
    tree = ast.parse(source)
    for name, node in [("", tree), *public(tree.body)]:
        if (text := ast.get_docstring(node)) is not None:
            yield from (f"{name or 'module'}: {fault}" for fault in faults(text, node))
    yield from constants(source, tree)


@pytest.mark.parametrize("part", PARTS)
def test_docstrings_are_read_without_faults(part: str) -> None:
    top = ROOT / "physml"
    paths = sorted((top / part).rglob("*.py")) if part else sorted(top.glob("*.py"))
    assert paths
    faulty = {
        str(path.relative_to(top)): found
        for path in paths
        if (found := list(faults_of(path.read_text(encoding="utf-8"))))
    }
    assert [f"{name}: {fault}" for name in faulty for fault in faulty[name]] == []


GOOD = '''
#: Limit |x|, see `f`.
LIMIT = 1


class C:
    """Thing.

    Attributes
    ----------
    x, y : float
        Its place.
    """

    x: float
    y: float

    def f(self, a, *more, b=1, **rest):
        """Sum of abs(a) and :math:`b`.

        Parameters
        ----------
        a : (n,) array
        *more
            Others.
        b : int
        **rest

        Returns
        -------
        float

        .. versionadded:: 0.2
        """
'''
BAD = {
    "has no type": ("a : (n,) array", "a"),
    "c is no parameter": ("b : int", "b, c : int"),
    "b is not described": ("        b : int\n", ""),
    "z is no attribute": ("x, y : float\n", "x, z : float\n"),
    "|a| is a substitution": ("abs(a)", "|a|"),
    "|x| is a substitution": ("`f`", "|x|"),
    "Unknown section": ("Returns", "Results"),
    "begins with What": ("Sum of", "What is"),
    "here_ is a link to nowhere": ("Others.", "See here_."),
    "without end-string": ("Others.", "See **there."),
    "Unknown interpreted text role": (":math:", ":maths:"),
    "Unknown directive": ("versionadded", "added"),
    "Unexpected indentation": (
        "Its place.",
        "Its place:\n        - x\n          - y\n            z",
    ),
    "autodoc fails": ("LIMIT = 1", "LIMIT = tuple[int, int]"),
    "stands above it": ("LIMIT = 1", 'LIMIT = 1\n"""Limit."""'),
}


@pytest.mark.parametrize("fault", BAD)
def test_faults_are_found(fault: str) -> None:
    good = GOOD.replace("|x|", "x")
    assert list(faults_of(good)) == []
    before, after = BAD[fault]
    assert good.count(before) >= 1
    assert any(fault in found for found in faults_of(good.replace(before, after, 1)))
