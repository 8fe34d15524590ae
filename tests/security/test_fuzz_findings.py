"""What fuzzing found, as small as it could be made: each was once no refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import check

from physml import data
from physml.exceptions import InputError

FINDINGS: dict[str, tuple[str, bytes]] = {
    # A circle round nowhere: NumPy could make no pixel of it.
    "a region at NaN": ("regions", b"image\ncircle(nan,6,3)"),
    "a polygon at infinity": ("regions", b"image\npolygon(1,1,1e400,1,5,5)"),
    "a radius beyond all pixels": ("regions", b"image\ncircle(6,6,1e300)"),
    # The message repeated what stood in the file, and the terminal obeyed.
    "a region that clears the screen": ("regions", b"\x1b[2Jcircle(1,1,1)"),
    "a null in a region": ("regions", b"\x00\x00region file"),
    "a column of a table that rings": ("texts", b"# %ECSV 1.0\n# ---\n# \x07\na\n1\n"),
    # The table of external files was read without care, since it is our own; a mirror's is not.
    "a manifest that is no text": ("texts", b"\x88,file,version"),
    "a manifest with a cell too many": ("texts", ",".join(data.COLUMNS).encode() + b"\n1,2\n" * 2),
    "a manifest with a number beyond all": (
        "texts",
        f"{','.join(data.COLUMNS)}\na,b,1,http://h/b,{'0' * 64},{'9' * 5000},c,d\n".encode(),
    ),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_what_was_found_is_read_or_refused(case: str) -> None:
    check(*FINDINGS[case])


def test_a_region_nowhere_is_refused_by_its_line(tmp_path: Path) -> None:
    from physml.cavities.masks import read_mask

    path = tmp_path / "a.reg"
    for text in ("circle(nan,6,3)", "polygon(1,1,1e400,1,5,5)", "circle(6,6,1e300)"):
        path.write_text(f"image\n{text}\n")
        with pytest.raises(InputError, match="line 2: expected a region"):
            read_mask(path, (12, 12), None)
