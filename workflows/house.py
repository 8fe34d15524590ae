"""The house: its layers from top to bottom, and a drawing of it from the code's own imports.

    python workflows/house.py [docs/images/house.png]

`tests/test_house.py` holds the code to the layers: imports run down only.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

SCIENCES = ("cavities", "background", "tomography")
#: Folders that each science has.
FOLDERS = ("core", "data", "evaluation", "inference", "learning", "results", "simulator")
#: Layers of the package; what stands in one line does not import each other.
HOUSE = (
    SCIENCES,
    ("cli",),
    ("stages",),
    ("models", "parallel", "training", "evaluation"),
    ("nn", "config", "datasets", "templates", "workflow"),
    ("io", "pipeline"),
    ("provenance", "progress"),
    ("exceptions", "random"),
)
#: Layers of each science.
ROOM = (
    ("cli",),
    ("cli_process", "cli_survey"),
    ("simulate", "preprocess", "train", "evaluate", "report"),
    ("survey",),
    ("predict", "cli_inputs"),
    ("evaluation",),
    ("learning",),
    ("results",),
    ("inference",),
    ("data",),
    ("simulator",),
    ("settings",),
    ("core",),
)
COLOURS = {
    "file": "#dfe7f1",
    "folder": "#8fb3d9",
    "science": "#e69f00",
}


def arrows(parents: tuple[str, ...]) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """Imports between the parts of some packages, and the modules of each part, all summed."""
    import grimp

    graph = grimp.build_graph("physml", cache_dir=None)
    found: Counter[tuple[str, str]] = Counter()
    modules: Counter[str] = Counter()

    def part(module: str) -> str | None:
        for parent in parents:
            if module.startswith(f"{parent}."):
                return module.removeprefix(f"{parent}.").split(".")[0]
        return None

    for module in graph.modules:
        a = part(module)
        if a is None:
            continue
        modules[a] += 1
        for other in graph.find_modules_directly_imported_by(module):
            b = part(other)
            if b is not None and a != b:
                found[a, b] += 1
    return found, modules


def draw(ax, layers, found, modules, title: str) -> None:
    """Draw layers as rows of boxes, and imports as arrows whose width is their number."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    place = {}
    for row, layer in enumerate(layers):
        names = [name for name in layer if modules[name]]
        for k, name in enumerate(names):
            # Layers of one part stand left and right in turn: arrows pass beside them.
            shift = (0.0, 0.18 * (-1) ** row)[len(names) == 1 and len(layers) > len(HOUSE)]
            place[name] = ((k + 0.5) / len(names) + shift, -row)
    for (a, b), number in sorted(found.items()):
        if a in place and b in place:
            (x0, y0), (x1, y1) = place[a], place[b]
            bend = 0.12 if abs(y0 - y1) > 1 else 0.0
            ax.add_patch(
                FancyArrowPatch(
                    (x0, y0 - 0.24),
                    (x1, y1 + 0.24),
                    connectionstyle=f"arc3,rad={bend if x0 >= x1 else -bend}",
                    arrowstyle="-|>",
                    mutation_scale=7,
                    lw=0.4 + 0.35 * number**0.5,
                    color="#5a6675",
                    alpha=0.3,
                    zorder=1,
                )
            )
    for name, (x, y) in place.items():
        width = min(0.2, 0.9 / max(len(layer) for layer in layers if name in layer))
        kind = "science" if name in SCIENCES else "folder" if modules[name] > 3 else "file"
        box = FancyBboxPatch(
            (x - width / 2, y - 0.22),
            width,
            0.44,
            boxstyle="round,pad=0.0,rounding_size=0.02",
            fc=COLOURS[kind],
            ec="#1c2430",
            lw=0.6,
            zorder=2,
        )
        ax.add_patch(box)
        ax.text(x, y + 0.04, name, ha="center", va="center", fontsize=8, zorder=3)
        files = "file" if modules[name] == 1 else "files"
        ax.text(x, y - 0.13, f"{modules[name]} {files}", ha="center", va="center", fontsize=6)
    ax.set(xlim=(0, 1), ylim=(0.6 - len(layers), 0.5), title=title)
    ax.axis("off")


def main() -> int:
    """Draw the house and one room beside it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    out = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/house.png")
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 8), layout="constrained")
    draw(left, HOUSE, *arrows(("physml",)), "physml")
    rooms = tuple(f"physml.{name}" for name in SCIENCES)
    draw(right, ROOM, *arrows(rooms), "each science (files of all three)")
    figure.savefig(out, dpi=110)
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
