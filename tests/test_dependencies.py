"""What pyproject.toml declares is what physml imports, and what is imported is declared."""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

#: Extra -> folders of the library that may need it.
EXTRAS = {
    "workflow": ("workflow",),
    "slurm": ("parallel",),
    "tomography": ("tomography",),
    "export": ("background/inference",),
}
#: Declared, and used without being imported.
NOT_IMPORTED = {
    "cryptography": "distributed makes its temporary keys with it",
    "tqdm": "ignite draws its progress bar with it",
    "onnx": "torch and onnxruntime write and quantise networks through it",
    "onnxscript": "torch writes ONNX through it",
    "snakemake": "runs physml's commands, not the other way round",
    "snakemake-executor-plugin-slurm": "Snakemake finds it by itself",
}
#: Imported as a part of what is declared.
PART_OF = {"cycler": "matplotlib", "distributed": "dask", "pydantic-core": "pydantic"}


@cache
def needed(root: Path) -> dict[str, set[str]]:
    """Distribution -> files of the library that import it, also inside of functions."""
    owners = packages_distributions()
    found: dict[str, set[str]] = {}
    for path in (root / "physml").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for module in {name.partition(".")[0] for name in names} - {"physml"}:
                if module not in sys.stdlib_module_names:
                    owner = canonicalize_name(owners.get(module, [module])[0])
                    place = str(path.relative_to(root / "physml"))
                    found.setdefault(PART_OF.get(owner, owner), set()).add(place)
    return found


def declared(root: Path) -> dict[str, set[str]]:
    """Extra -> distributions; those that everybody gets under an empty name."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"]} | project["optional-dependencies"]
    return {
        group: {canonicalize_name(Requirement(text).name) for text in groups[group]}
        for group in ("", *EXTRAS)
    }


def test_what_is_declared_is_imported(root: Path) -> None:
    imported = set(needed(root))
    for group, names in declared(root).items():
        assert names - imported <= set(NOT_IMPORTED), f"physml[{group}]"
    everything = set.union(*declared(root).values())
    assert set(NOT_IMPORTED) <= everything - imported, "an exception that nothing needs"


def test_what_is_imported_is_declared(root: Path) -> None:
    """For everybody, or in an extra for the folders that this extra is for."""
    groups = declared(root)
    for package, files in needed(root).items():
        extra = next((group for group, names in groups.items() if package in names), None)
        assert extra is not None, f"{package} is not declared; {sorted(files)} import it"
        if extra:
            assert all(file.startswith(EXTRAS[extra]) for file in files), (package, extra, files)
