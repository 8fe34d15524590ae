"""The HTML report: built from a finished run, and used in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture(scope="module")
def page(snakemake: Run, toy: Path, done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the finished toy."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    snakemake("-s", toy, "--report", path, cwd=done)
    return path


def test_report_is_one_file_that_works_offline(page: Path) -> None:
    """Everything is inside: programs, figures, captions, the description."""
    text = page.read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", text)
    assert "filename=pulls.png;base64," in text
    assert "filename=decay.png;base64," in text


CLICK = """<script>
const steps = %s;
const find = step => step.startsWith("[") ? document.querySelector("#app " + step)
  : [...document.querySelectorAll("#app a")].find(e => e.textContent.trim() === step);
const next = () => {
  const hit = steps.length && find(steps[0]);
  if (hit) { steps.shift(); hit.click(); }
  if (steps.length) setTimeout(next, 100);
};
next();
</script>"""


def test_report_in_a_browser(page: Path, tmp_path: Path) -> None:
    """A reader clicks through to a figure and its caption, and sees them."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    way = ["Results", "Toy: radioactive decay", "On simulated test data"]
    way += ["[iconname=eye]", "[iconname=information-circle]"]
    before, end, after = page.read_text().rpartition("</body>")
    clicked = tmp_path / "clicked.html"
    clicked.write_text(before + CLICK % json.dumps(way) + end + after)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--virtual-time-budget=15000", "--dump-dom"]
    command = [chromium, *options, clicked.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    # The page's own data hold all texts; only what was rendered counts.
    seen = re.sub(r"<script.*?</script>|<style.*?</style>", "", done.stdout, flags=re.S)
    assert '<img src="data:image/png;charset=utf8;filename=pulls.png;base64,' in seen
    assert "a unit Gaussian if the rate is right" in seen
