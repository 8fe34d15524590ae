"""External files: the manifest, finding and fetching."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import requests

from physml import datasets
from physml.cli.main import main
from physml.exceptions import InputError, PhysmlError
from physml.provenance import sha256

HEADER = ",".join(datasets.COLUMNS)


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    asked: list[str] = []  # noqa: RUF012

    def log_message(self, *_) -> None:
        self.asked.append(self.path)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    Server.asked.clear()
    handler = functools.partial(Server, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch) -> Path:
    """No data on this machine: an empty shared folder and an empty cache."""
    (tmp_path / "shared").mkdir()
    monkeypatch.setenv("PHYSML_SHARED_DATA", str(tmp_path / "shared"))
    monkeypatch.setenv("PHYSML_CACHE", str(tmp_path / "cache"))
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def sample(elsewhere: Path, monkeypatch) -> datasets.Entry:
    """A manifest with one small file, which a server could offer."""
    source = elsewhere / "server" / "chandra" / "small.fits"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"SIMPLE  =" + bytes(5000))
    table = elsewhere / "manifest.csv"
    row = f"small,chandra/small.fits,1,http://127.0.0.1:9/small.fits,{sha256(source)},5009,MIT,us"
    table.write_text(f"{HEADER}\n{row}\n")
    monkeypatch.setattr(datasets, "_manifest_path", lambda: table)
    return datasets.entry("small")


def test_our_manifest_is_complete() -> None:
    entries = datasets.manifest()
    assert {"ngc5813", "ngc4649", "abell1835", "abell1835-exposure", "abell1835-background"} <= set(
        entries
    )
    for name, entry in entries.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        # A url with a commit in it: the file behind it cannot change.
        host = r"https://raw\.githubusercontent\.com"
        assert re.match(host + r"/[\w.-]+/[\w.-]+/[0-9a-f]{40}/", entry.url)
        assert entry.version in entry.url
        assert entry.bytes > 0
        assert entry.licence in ("MIT", "BSD-3-Clause")
        assert entry.citation


def test_manifest_agrees_with_the_real_files(shared_data: Path) -> None:
    for entry in datasets.manifest().values():
        path = shared_data / entry.file
        assert path.stat().st_size == entry.bytes
        assert sha256(path) == entry.sha256


ROW = f"a,x/a.fits,1,https://x.org/a,{'0' * 64},5,MIT,us"


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([ROW, ROW], "each name once"),
        ([ROW.replace("x/a.fits", "../a.fits")], "relative path"),
        ([ROW.replace("x/a.fits", "/etc/passwd")], "relative path"),
        ([ROW.replace("x/a.fits", "a/../../evil")], "relative path"),
        ([ROW.replace("x/a.fits", "")], "relative path"),
        ([ROW.replace("0" * 64, "abc")], "SHA-256"),
        ([ROW.replace("https", "file")], "begins with http"),
        ([ROW.replace(",5,", ",five,")], "number of bytes"),
        (None, "columns"),
    ],
)
def test_bad_manifest(tmp_path: Path, rows: list[str] | None, match: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(["name,url\na,b"] if rows is None else [HEADER, *rows]) + "\n")
    with pytest.raises(InputError, match=match) as caught:
        datasets.manifest(path)
    assert str(path) in str(caught.value)


def test_unknown_name_suggests(elsewhere: Path) -> None:
    for ask in (datasets.entry, datasets.find_data, datasets.fetch_data):
        with pytest.raises(InputError, match="Did you mean 'ngc5813'"):
            ask("NGC5831")


def test_found_in_the_shared_folder_and_in_the_cache(
    sample: datasets.Entry, elsewhere: Path
) -> None:
    assert datasets.find_data("small") is None
    content = (elsewhere / "server" / "chandra" / "small.fits").read_bytes()
    for place in ("cache/small.fits", "shared/small.fits", "shared/chandra/small.fits"):
        path = elsewhere / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        assert datasets.find_data("small") == path


def test_a_file_with_another_content_is_left_out(
    sample: datasets.Entry, elsewhere: Path, caplog
) -> None:
    for content in (bytes(sample.bytes), b"short"):
        (elsewhere / "shared" / "small.fits").write_bytes(content)
        assert datasets.find_data("small") is None
        assert "is not version 1 of small" in caplog.text


def test_real_files_are_found(shared_data: Path, monkeypatch) -> None:
    monkeypatch.setenv("PHYSML_SHARED_DATA", str(shared_data))
    assert datasets.find_data("ngc5813") == shared_data / "chandra" / "NGC5813.fits"


def test_fetch_downloads_checks_and_keeps(sample: datasets.Entry, elsewhere: Path) -> None:
    with serve(elsewhere / "server") as url:
        path = datasets.fetch_data("small", base_url=url)
        assert path == elsewhere / "cache" / "small.fits"
        assert sha256(path) == sample.sha256
        assert Server.asked == ["/chandra/small.fits"]
        assert datasets.fetch_data("small", base_url=url) == path
        assert len(Server.asked) == 1  # from the cache
        datasets.fetch_data("small", base_url=f"{url}/", force=True)
        assert len(Server.asked) == 2
        other = elsewhere / "mine"
        assert datasets.fetch_data("small", folder=other) == other / "small.fits"
        assert len(Server.asked) == 2
    assert [p.name for p in (elsewhere / "cache").iterdir()] == ["small.fits"]


def test_real_image_from_a_server(shared_data: Path, elsewhere: Path, capsys) -> None:
    with serve(shared_data) as url:
        assert main(["data", "fetch", "ngc5813", "abell1835", "--base-url", url]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [p.name for p in paths] == ["NGC5813.fits", "P0098010101M2U009IMAGE_3000.FTZ"]
    from physml.io.fits import open_image

    assert open_image(paths[0]).data.shape == (512, 512)


@pytest.mark.parametrize(
    "content", [b"SIMPLE  =" + bytes(4999) + b"x", b"cut short", bytes(100_000)]
)
def test_another_content_is_refused_and_not_kept(
    sample: datasets.Entry, elsewhere: Path, content: bytes
) -> None:
    (elsewhere / "server" / "chandra" / "small.fits").write_bytes(content)
    with (
        serve(elsewhere / "server") as url,
        pytest.raises(PhysmlError, match="not the file that the manifest describes") as caught,
    ):
        datasets.fetch_data("small", base_url=url)
    assert caught.value.exit_code == 1
    assert not list((elsewhere / "cache").glob("*"))


def test_another_content_tells_no_password_and_no_token(
    sample: datasets.Entry, elsewhere: Path
) -> None:
    with serve(elsewhere / "server") as url:
        # To this a server answers with a list of its files.
        mirror = url.replace("//", "//me:s3cr3t@") + "/?sig=s3cr3t&file="
        with pytest.raises(PhysmlError, match="not the file that the manifest") as caught:
            datasets.fetch_data("small", base_url=mirror)
    assert "s3cr3t" not in str(caught.value)


#: Addresses of mirrors with secrets in them, in forms that people type.
SECRET = "s3cr3t"
MIRRORS = (
    "http://me:s3cr3t@host",
    "http://s3cr3t@host",
    "http://me:p@s3cr3t@host",
    "http://me:p/s3cr3t@host",
    "http://host/files?sig=s3cr3t&file=",
    "http://host/files#s3cr3t",
)


def broken(error: Exception):
    """A download that ends with an error of requests."""

    def get(url: str, **_):
        # requests tells the address in some of its messages, whole or without its server.
        path = url.split("host", 1)[-1]
        error.args = (f"Max retries exceeded with url: {path} (of {url!r})",)
        raise error

    return get


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize(
    "kind",
    [
        *("ConnectionError", "Timeout", "HTTPError", "TooManyRedirects", "InvalidURL"),
        *("ChunkedEncodingError", "SSLError", "ProxyError", "RetryError"),
    ],
)
def test_no_failure_tells_a_password_or_a_token(
    sample: datasets.Entry, elsewhere: Path, monkeypatch, caplog, capsys, kind: str, mirror: str
) -> None:
    monkeypatch.setattr("requests.get", broken(getattr(requests.exceptions, kind)()))
    caplog.set_level("DEBUG")
    assert main(["-vv", "data", "fetch", "small", "--base-url", mirror]) == 1
    told = "".join([*capsys.readouterr(), caplog.text])
    assert "small" in told
    assert SECRET not in told


@pytest.mark.parametrize("mirror", [m.replace("http:", "ftp:") for m in MIRRORS])
def test_a_refused_address_tells_no_password(
    sample: datasets.Entry, elsewhere: Path, capsys, mirror: str
) -> None:
    assert main(["data", "fetch", "small", "--base-url", mirror]) == 2
    told = "".join(capsys.readouterr())
    assert "http" in told
    assert SECRET not in told


@pytest.mark.parametrize("mirror", MIRRORS)
def test_another_content_of_any_mirror_tells_no_password(
    sample: datasets.Entry, elsewhere: Path, monkeypatch, caplog, capsys, mirror: str
) -> None:
    reply = mock.MagicMock()
    monkeypatch.setattr("requests.get", lambda *_, **__: reply)
    for content in (b"another", bytes(100_000)):
        reply.__enter__.return_value.iter_content = lambda _, content=content: [content]
        assert main(["data", "fetch", "small", "--base-url", mirror]) == 1
        told = "".join([*capsys.readouterr(), caplog.text])
        assert "not the file" in told
        assert SECRET not in told


def test_endless_download_is_stopped(sample: datasets.Entry, elsewhere: Path, monkeypatch) -> None:
    taken = []
    endless = mock.MagicMock()
    endless.__enter__.return_value.iter_content = lambda size: (
        taken.append(size) or bytes(size) for _ in range(1000)
    )
    monkeypatch.setattr("requests.get", lambda *_, **__: endless)
    with pytest.raises(PhysmlError, match="more than the expected 5009 bytes"):
        datasets.fetch_data("small")
    assert len(taken) == 1


def test_server_without_the_file(sample: datasets.Entry, elsewhere: Path) -> None:
    (elsewhere / "empty").mkdir()
    with serve(elsewhere / "empty") as url, pytest.raises(PhysmlError, match="404"):
        datasets.fetch_data("small", base_url=url)
    assert not list((elsewhere / "cache").glob("*"))


def test_no_network(sample: datasets.Entry, elsewhere: Path, capsys) -> None:
    # Port 9 of this machine: nobody answers.
    assert main(["data", "fetch", "small"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no connection to http://127.0.0.1:9/small.fits" in err
    assert "PHYSML_SHARED_DATA" in err
    assert "Traceback" not in err
    assert not list((elsewhere / "cache").glob("*"))


def test_exit_codes_of_the_command(sample: datasets.Entry, elsewhere: Path, capsys) -> None:
    assert main(["data", "fetch", "smal"]) == 2
    assert "Did you mean 'small'?" in capsys.readouterr().err
    assert main(["data", "fetch", "small", "--base-url", "file:///etc"]) == 2
    assert "http" in capsys.readouterr().err
    with serve(elsewhere / "server") as url:
        # The misspelt name stops all, before anything is downloaded.
        assert main(["data", "fetch", "small", "smal", "--base-url", url]) == 2
        assert Server.asked == []
        assert main(["data", "fetch", "small", "--base-url", url]) == 0
    assert capsys.readouterr().out.strip() == str(elsewhere / "cache" / "small.fits")


def test_list(sample: datasets.Entry, elsewhere: Path, capsys) -> None:
    assert main(["data", "list"]) == 0
    text = capsys.readouterr().out
    assert "small" in text
    assert "not here" in text
    assert main(["data", "list", "--json"]) == 0
    assert '"path": null' in capsys.readouterr().out
