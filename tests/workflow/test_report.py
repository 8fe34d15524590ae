"""The HTML report: built from a finished run, and opened in a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .conftest import Run


@pytest.fixture(scope="module")
def page(snakemake: Run, toy: Path, done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the finished toy."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    snakemake("-s", toy, "--report", path, cwd=done)
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """Open a page in headless Chromium with these options and return what it prints."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")

    def look(page: Path, *options: str) -> str:
        # fmt: off
        quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update"]
        # fmt: on
        done = subprocess.run(
            [
                program,
                "--headless",
                *quiet,
                f"--user-data-dir={profile}",
                "--hide-scrollbars",
                "--window-size=1400,1000",
                "--virtual-time-budget=8000",
                *options,
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )  # fmt: skip
        return done.stdout

    return look


def test_report_is_one_file_that_works_offline(page: Path) -> None:
    """Everything is inside: figures, their captions, the description."""
    text = page.read_text()
    assert "<script src=" not in text
    assert "data:image/png;base64," in text
    assert "Pulls of the test series" in text
    assert "The decay rate of a source" in text


def test_report_in_a_browser(page: Path, chromium, tmp_path: Path) -> None:
    """Chromium renders it: the page's own program ran, and there is something to see."""
    dom = chromium(page, "--dump-dom")
    assert "Toy: radioactive decay" in dom, "the menu with the results' categories is missing"
    picture = tmp_path / "report.png"
    chromium(page, f"--screenshot={picture}")
    import matplotlib.image

    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[:2] == (1000, 1400)
    shades = np.unique((pixels * 255).astype(np.uint8).reshape(-1, 3), axis=0)
    assert len(shades) > 50, "the page is blank"
