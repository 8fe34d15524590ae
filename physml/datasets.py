"""External files: what they are, where they are, and how to get them.

``data/manifest.csv`` names every file from outside with its public source, version, size and
SHA-256. A file is looked for in ``$PHYSML_SHARED_DATA`` (by default the folder ``shared/data``
beside the repository), then in the cache, and is used only if its hash is right.
"""

from __future__ import annotations

import csv
import difflib
import io
import logging
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from physml import provenance as prov
from physml.exceptions import InputError, PhysmlError
from physml.io.atomic import atomic_path
from physml.io.files import require_file

log = logging.getLogger(__name__)

COLUMNS = ("name", "file", "version", "url", "sha256", "bytes", "licence", "citation")
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Entry:
    """One external file.

    Attributes
    ----------
    name : str
        As on the command line.
    file : str
        Its path below a folder of data.
    version : str
        Version at its source.
    url : str
        Where it comes from.
    sha256 : str
        Digest that it has to have.
    bytes : int
        Size that it has to have.
    licence, citation : str
        How it may be used, and whom to thank.
    """

    name: str
    file: str
    version: str
    url: str
    sha256: str
    bytes: int
    licence: str
    citation: str


def _manifest_path() -> Path:
    # In a wheel the manifest lies inside the package, in a checkout at the top.
    packed = Path(str(resources.files("physml"))) / "_data" / "manifest.csv"
    return packed if packed.is_file() else Path(__file__).parents[1] / "data" / "manifest.csv"


def manifest(path: Path | None = None) -> dict[str, Entry]:
    """Read the table of external files.

    Parameters
    ----------
    path : Path, optional
        Another table; the project's own by default.

    Raises
    ------
    InputError
        A column is missing, a name is given twice, or a value cannot be used.
    """
    source = require_file(path or _manifest_path(), "the table of external files")
    entries: dict[str, Entry] = {}
    try:
        text = source.read_text(encoding="utf-8")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError.expected(source, "a table as CSV in UTF-8", str(error)) from error
    if columns != COLUMNS:
        raise InputError.expected(source, f"columns {COLUMNS}", f"{columns}"[:200])
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise InputError.expected(f"{source}, line {number}", f"{len(COLUMNS)} cells", "others")
        entry = _entry(f"{source}, line {number}", row)
        if entry.name in entries:
            raise InputError.expected(source, "each name once", f"{entry.name!r} twice")
        entries[entry.name] = entry
    return entries


def _entry(place: str, row: dict[str, Any]) -> Entry:
    relative = PurePosixPath(row["file"] or "")
    if not relative.name or relative.is_absolute() or ".." in relative.parts:
        raise InputError.expected(place, "a relative path as file", repr(row["file"]))
    if not re.fullmatch(r"[0-9a-f]{64}", row["sha256"] or ""):
        raise InputError.expected(place, "a SHA-256 of 64 hexadecimal digits", repr(row["sha256"]))
    if not re.match(r"https?://", row["url"] or ""):
        raise InputError.expected(place, "a url that begins with http", repr(row["url"]))
    if not re.fullmatch(r"[0-9]{1,18}", row["bytes"] or ""):
        raise InputError.expected(place, "a number of bytes", repr(row["bytes"]))
    return Entry(**{**row, "bytes": int(row["bytes"])})


def entry(name: str) -> Entry:
    """One entry by name.

    Raises
    ------
    InputError
        No such name; the message suggests one.
    """
    entries = manifest()
    if name in entries:
        return entries[name]
    close = difflib.get_close_matches(name.lower(), entries, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else None
    raise InputError.expected(None, f"one of the data sets {', '.join(entries)}", repr(name), hint)


def cache_folder() -> Path:
    """Where downloads go: ``$PHYSML_CACHE``, else the user's cache folder."""
    given = os.environ.get("PHYSML_CACHE")
    if given:
        return Path(given)
    import pooch

    return Path(pooch.os_cache("physml"))


def shared_folder() -> Path:
    """Folder of data that people share: $PHYSML_SHARED_DATA, or one beside a checkout."""
    given = os.environ.get("PHYSML_SHARED_DATA")
    return Path(given) if given else Path(__file__).parents[2] / "shared" / "data"


def _folders() -> list[Path]:
    return [shared_folder(), cache_folder()]


def find_data(name: str) -> Path | None:
    """Path of a file that is on this machine already, or None.

    A file with another hash is left out with a warning.

    Raises
    ------
    InputError
        No such name.
    """
    wanted = entry(name)
    for folder in _folders():
        for candidate in (folder / wanted.file, folder / PurePosixPath(wanted.file).name):
            if not candidate.is_file():
                continue
            # The size first: it is quick, and tells a cut download from a whole one.
            same_size = candidate.stat().st_size == wanted.bytes
            if same_size and prov.sha256(candidate) == wanted.sha256:
                return candidate
            log.warning("%s is not version %s of %s: left out", candidate, wanted.version, name)
    return None


def fetch_data(
    name: str,
    *,
    base_url: str | None = None,
    folder: Path | None = None,
    force: bool = False,
) -> Path:
    """Path of an external file, downloaded and checked where it is not there yet.

    Parameters
    ----------
    name : str
        Name in the manifest.
    base_url : str, optional
        A mirror: the file is taken from ``<base_url>/<file>``.
    folder : Path, optional
        Where the file goes; the cache by default.
    force : bool
        Download even if the file is there.

    Raises
    ------
    InputError
        No such name, or a url that is not http.
    PhysmlError
        No network, a refusal of the server, or another content than expected.
    """
    wanted = entry(name)
    here = None if force else find_data(name)
    if here is not None and folder is None:
        return here
    target = (folder or cache_folder()) / PurePosixPath(wanted.file).name
    if not force and target.is_file() and prov.sha256(target) == wanted.sha256:
        return target
    if here is not None:
        with atomic_path(target, overwrite=True) as temporary:
            temporary.write_bytes(here.read_bytes())
        return target
    url = f"{base_url.rstrip('/')}/{wanted.file}" if base_url else wanted.url
    if not re.match(r"https?://", url):
        raise InputError.expected(
            "base url", "one that begins with http:// or https://", repr(_shown(url))
        )
    _download(wanted, url, target)
    return target


def _shown(text: str) -> str:
    """Text with its addresses as they may be seen: a mirror's may hold a password or a token."""
    # Up to the last @: a password may hold one, and a slash that nobody escaped. Some messages of
    # requests name the path and its query without the server.
    text = re.sub(r"://[^\s'\"]*@", "://...@", text)
    return re.sub(r"(/[^\s?#'\"]*)[?#][^\s)'\"]*", r"\1?...", text)


def _download(wanted: Entry, url: str, target: Path) -> None:
    import pooch
    import requests

    def limited(url: str, output: str | Path, _: Any) -> None:
        """Pooch's download, stopped at the size that the manifest names."""
        size = 0
        with requests.get(url, timeout=TIMEOUT_S, stream=True) as reply, open(output, "wb") as file:
            reply.raise_for_status()
            for block in reply.iter_content(1 << 16):
                size += len(block)
                if size > wanted.bytes:
                    raise ValueError(f"more than the expected {wanted.bytes} bytes")
                file.write(block)

    log.info("downloading %s (%.1f MB) from %s", wanted.name, wanted.bytes / 1e6, _shown(url))
    # pooch asks for a folder of its own and moves the file there when the hash is right.
    logger = pooch.get_logger()
    logger.setLevel(logging.WARNING)
    try:
        with atomic_path(target, overwrite=True) as temporary:
            pooch.retrieve(
                url,
                known_hash=f"sha256:{wanted.sha256}",
                fname=temporary.name,
                path=temporary.parent,
                downloader=limited,
            )
    # "from None": a traceback that a user shows to others would tell the address as it was typed.
    except (requests.ConnectionError, requests.Timeout):
        raise PhysmlError(
            f"{wanted.name}: no connection to {_shown(url)}. Without a network, put the file "
            f"{wanted.file} into a folder and set PHYSML_SHARED_DATA to that folder."
        ) from None
    except requests.RequestException as error:
        raise PhysmlError(f"{wanted.name}: {_shown(str(error))}") from None
    except ValueError as error:
        detail = " ".join(str(error).split())
        raise PhysmlError(
            f"{wanted.name}: {_shown(url)} is not the file that the manifest describes, nothing "
            f"was kept ({_shown(detail)})"
        ) from None
