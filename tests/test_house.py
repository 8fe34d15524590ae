"""The house: where modules stand, and that imports run down only, see `workflows/house.py`."""

from __future__ import annotations

import runpy
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

LAYERS = runpy.run_path(str(Path(__file__).parents[1] / "workflows" / "house.py"))
SCIENCES, FOLDERS = LAYERS["SCIENCES"], LAYERS["FOLDERS"]
HOUSE, ROOM = LAYERS["HOUSE"], LAYERS["ROOM"]
MOST_MODULES = 25


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Imports of the package, those for type hints and those inside functions included."""
    return grimp.build_graph("physml", cache_dir=None)


def test_no_circle(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        tuple(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def upward(graph: grimp.ImportGraph, parent: str, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    """Imports from a layer of a package into the same or a higher one."""
    place = {name: number for number, layer in enumerate(layers) for name in layer}
    found = []
    for module in sorted(graph.modules):
        for other in sorted(graph.find_modules_directly_imported_by(module)):
            if not all(m.startswith(f"{parent}.") for m in (module, other)):
                continue
            a, b = (m.removeprefix(f"{parent}.").split(".")[0] for m in (module, other))
            assert a in place, f"{parent}.{a}: in which layer is it?"
            if a != b and place[b] <= place[a]:
                found.append(f"{module} imports {other}")
    return found


def test_imports_run_down(graph: grimp.ImportGraph) -> None:
    assert upward(graph, "physml", HOUSE) == []


@pytest.mark.parametrize("science", SCIENCES)
def test_imports_run_down_in_a_room(graph: grimp.ImportGraph, science: str) -> None:
    assert upward(graph, f"physml.{science}", ROOM) == []


def test_an_upward_import_and_a_circle_are_found() -> None:
    """The tests above can fail."""
    graph = grimp.ImportGraph()
    for name in ("p", "p.core", "p.core.a", "p.data", "p.data.b"):
        graph.add_module(name)
    graph.add_import(importer="p.core.a", imported="p.data.b")
    assert upward(graph, "p", (("data",), ("core",))) == ["p.core.a imports p.data.b"]
    assert upward(graph, "p", (("core",), ("data",))) == []
    graph.add_import(importer="p.data.b", imported="p.core.a")
    with pytest.raises(pytest.fail.Exception, match="in a circle"):
        test_no_circle(graph)


@pytest.mark.parametrize("science", SCIENCES)
def test_the_same_folders(root: Path, science: str) -> None:
    room = root / "physml" / science
    folders = sorted(p.name for p in room.iterdir() if (p / "__init__.py").is_file())
    assert tuple(folders) == FOLDERS
    stages = {"simulate", "preprocess", "train", "evaluate", "report"}
    at_the_top = {p.stem for p in room.glob("*.py")} - {
        "cli_inputs",
        "cli_process",
        "cli_survey",
        "survey",
    }
    assert at_the_top == {"__init__", "cli", "settings", "predict"} | stages


def test_no_folder_is_crowded(root: Path) -> None:
    crowded = {}
    for top in ("physml", "tests", "benchmarks", "workflows"):
        for folder in [root / top, *(p for p in (root / top).rglob("*") if p.is_dir())]:
            number = len([p for p in folder.glob("*.py") if p.name != "__init__.py"])
            if number > MOST_MODULES:
                crowded[str(folder.relative_to(root))] = number
    assert crowded == {}
