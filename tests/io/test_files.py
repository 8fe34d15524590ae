"""Files are asked for in one way."""

from __future__ import annotations

import pytest

from physml.exceptions import InputError
from physml.io.files import require_file


def test_what_is_no_file_or_too_large_is_refused(tmp_path) -> None:
    path = tmp_path / "ten"
    path.write_bytes(bytes(10))
    assert require_file(str(path), "a table", 10) == path
    for place, limit, found in (
        (tmp_path / "none", None, "none: expected a table, found no such file"),
        (tmp_path, None, "expected a table, found a folder"),
        (path, 9, "ten: expected a table of at most 9 bytes, found 10 bytes"),
    ):
        with pytest.raises(InputError, match=found):
            require_file(place, "a table", limit)
