"""Known cavities in real images: which are found, which are missed, what else is listed.

    python benchmarks/cavities_real_images.py [--data ../shared/data]

Three images and the shipped weights (or ``--weights``), as ``physml cavities predict`` searches
them: NGC 5813 and NGC 4649 (Chandra) with the cavities that the literature knows, and Abell 1835
(XMM, MOS2, with exposure map and source list), where none is known. Three images have no interval.
What was decided from them stands in ``pipelines/cavities/SEALED.md``.

The background map of Abell 1835 is a trap: a spline that kept emission of the cluster. How much is
printed: background over exposure at the cluster, and 8 to 10 arcmin away; and the image is searched
with the map as well, to show what physml says of it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table

from physml.cavities.evaluation.real_images import KNOWN, found_in, values
from physml.cavities.predict import CavityPredictor
from physml.evaluation.sealed import remark
from physml.io.fits import open_image

#: Whose weights and simulator the numbers rest on.
SCIENCES = ("cavities",)
#: Images by name: what is said of them, and their files.
IMAGES: Mapping[str, tuple[str, str]] = {
    "ngc5813": ("NGC 5813, Chandra 637 ks", "chandra/NGC5813.fits"),
    "ngc4649": ("NGC 4649, Chandra 289 ks", "chandra/NGC4649.fits"),
    "abell1835": (
        "Abell 1835, XMM MOS2, with its exposure map",
        "xmm/P0098010101M2U009IMAGE_3000.FTZ",
    ),
}
XMM = {"exposure": "xmm/P0098010101M2U009EXPMAP3000.FTZ", "mask": "xmm/M2ptsrc.txt"}
BACKGROUND = "xmm/P0098010101M2X000BKGMAP3000.FTZ"
#: Side of a pixel of the XMM images [arcsec].
PIXEL = 4.0


def searched(
    predictor: CavityPredictor, name: str, data: Path, trapped: bool = False
) -> dict[str, Any]:
    """Rows of the catalogue of one image beside the known cavities; `trapped`: with the bad map."""
    maps = {k: data / file for k, file in XMM.items()} if name == "abell1835" else {}
    if trapped:
        maps["background"] = data / BACKGROUND
    result = predictor.predict(data / IMAGES[name][1], progress=False, **maps)
    catalogue = result.catalogue
    found = found_in(catalogue, KNOWN[name])
    rows = [
        {"probability": float(p), "flags": str(flags)}
        for p, flags in zip(values(catalogue["probability"]), catalogue["flags"], strict=True)
    ]
    out = {
        "image": IMAGES[name][0] + (" and its background map" if trapped else ""),
        "ledger": remark("cavities", name),
        "known": len(KNOWN[name]),
        "found": {known: rows[row] for known, row in found.items()},
        "missed": [known.name for known in KNOWN[name] if known.name not in found],
        "others": [row for k, row in enumerate(rows) if k not in found.values()],
    }
    if not trapped:
        return out
    said_of_it = [text for text in result.warnings if "background" in text]
    return out | {"trap": trap(data, result.centre), "said": said_of_it}


def trap(data: Path, centre: tuple[float, float]) -> dict[str, float]:
    """Background over exposure at the cluster, and 8 to 10 arcmin away from it."""
    background, exposure = (
        np.asarray(open_image(data / file).data, float) for file in (BACKGROUND, XMM["exposure"])
    )
    y, x = np.indices(background.shape)
    away = np.hypot(x - centre[0], y - centre[1]) * PIXEL / 60
    exposed = exposure > 0.2 * exposure.max()
    out = {}
    for name, here in (("cluster", away < 0.5), ("far", (away > 8) & (away < 10))):
        out[name] = float(np.median((background / np.where(exposed, exposure, 1))[here & exposed]))
    return out


def listed(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Found cavities with their probabilities, the surest first."""
    ordered = sorted(rows.items(), key=lambda item: -item[1]["probability"])
    return "; ".join(f"{name} ({said(row)})" for name, row in ordered) or "none"


def said(row: Mapping[str, Any]) -> str:
    """Probability and flags of a row."""
    flags = f", {row['flags']}" if row["flags"] else ""
    return f"{row['probability']:.2f}{flags}"


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    rows, sentences = [], []
    for one in numbers["images"]:
        some = f"{len(one['found'])} of {one['known']}: {listed(one['found'])}"
        rows.append(
            [
                one["image"],
                some if one["known"] else "none is known",
                ", ".join(one["missed"]) or "none",
                "; ".join(said(row) for row in one["others"]) or "none",
                one["ledger"],
            ]
        )
        if "trap" in one:
            ratio = one["trap"]["cluster"] / one["trap"]["far"]
            sentences.append(
                f"The background map of {one['image'].split(',')[0]} is a trap: divided by the "
                f"exposure it is {ratio:.1f} times as high at the cluster as 8 to 10 arcmin away, "
                "since the spline behind it kept emission of the cluster. physml says of it: "
                f"*{'; '.join(one['said']) or 'nothing'}*."
            )
    caption = (
        f"{len(IMAGES)} images, too few for an interval; in brackets the probability of the row "
        "and its flags (`candidate`: no sure detection)."
    )
    heads = ["image", "known cavities found", "missed", "others listed", "what was decided from it"]
    found = sum(len(one["found"]) for one in numbers["images"])
    known = sum(one["known"] for one in numbers["images"])
    return {
        "table": f"{caption}\n\n{table(heads, rows)}",
        "trap": " ".join(sentences),
        "found": f"{found} of {known}",
    }


def main() -> int:
    """Run and print."""
    shared = os.environ.get("PHYSML_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
    a = parse(command(__doc__, "weights", "json", "markdown", data=Path(shared)))
    logging.disable(logging.WARNING)
    predictor = CavityPredictor.load(a.weights)
    images = [searched(predictor, name, a.data) for name in IMAGES]
    images.append(searched(predictor, "abell1835", a.data, trapped=True))
    write(a, {"images": images}, tables=tables, sciences=SCIENCES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
