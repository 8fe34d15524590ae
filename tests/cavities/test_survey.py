"""A survey with a detector that knows the planted cavities: tables, page, recall, what fails."""

from __future__ import annotations

import inspect
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from fakes.cavities import TruthDetector
from fakes.surveys import CAVITIES, CENTRE, equal_tables, write_literature, write_targets
from matplotlib.figure import Figure

from physml.cavities import survey as survey_module
from physml.cavities.predict import CavityPredictor
from physml.cavities.results.survey import collected
from physml.cavities.survey import run_survey
from physml.cli.main import main
from physml.exceptions import InputError, OutputError


@pytest.fixture(autouse=True)
def _few_pictures(request, monkeypatch):
    """Pictures take most of the time; one test here makes them all."""
    if request.node.name != "test_everything_at_once":
        small = "physml.cavities.results.products.plot_overview"
        monkeypatch.setattr(small, lambda result: Figure(figsize=(0.5, 0.5)))
        monkeypatch.setattr(collected, "survey_figures", lambda *tables: {})
        monkeypatch.setattr(survey_module, "write_thumbnail", lambda result, path: None)


@pytest.fixture(autouse=True)
def searched(monkeypatch):
    """Names of the images that are searched, by a detector that knows."""
    detector = TruthDetector(CAVITIES, CENTRE, cut=0.9)
    monkeypatch.setattr(CavityPredictor, "load", classmethod(lambda cls, path=None: cls(detector)))
    names: list[str] = []
    predict = CavityPredictor.predict

    def noted(self, image, **options):
        names.append(image.name)
        return predict(self, image, **options)

    # Its signature says which columns a list may have.
    noted.__signature__ = inspect.signature(predict)
    monkeypatch.setattr(CavityPredictor, "predict", noted)
    return names


def run(*arguments):
    return main(["cavities", "survey", *map(str, arguments), "-q"])


class Pictures(HTMLParser):
    """Sources of the pictures and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.other: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag == "img":
            self.pictures.append(named["src"])
        elif tag in ("script", "link", "iframe"):
            self.other.append(tag)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A survey of three targets, one of them without a file, with the literature of two."""
    folder = tmp_path_factory.mktemp("survey")
    targets = write_targets(folder, 3)
    (folder / "t1.fits").rename(folder / "kept.fits")
    known = write_literature(folder, [0, 1])
    return folder, targets, known


def test_everything_at_once(whole, capsys, searched):
    folder, targets, known = whole
    code = run(targets, "-o", folder / "out", "--literature", known)
    shown = capsys.readouterr()
    assert code == 2, shown.err
    assert "1 of 3 targets were not searched: T 1" in shown.err
    assert searched == ["t0.fits", "t1.fits", "t2.fits"]
    made = folder / "out"
    assert {p.name for p in (made / "targets").iterdir()} == {"T_0", "T_2"}
    products = {p.name for p in (made / "targets" / "T_0").iterdir()}
    assert {"probability.fits", "cavities.reg", "cavities.ecsv", "overview.png"} <= products

    cavities = QTable.read(made / "catalogue.ecsv")
    assert list(cavities["target"]) == ["T 0", "T 0", "T 2", "T 2"]
    own = QTable.read(made / "targets" / "T_2" / "cavities.ecsv")
    np.testing.assert_array_equal(cavities["ra"][2:], own["ra"])
    assert cavities["radius_kpc"].unit == u.kpc
    assert fits.getdata(made / "catalogue.fits", 1)["target"].tolist() == list(cavities["target"])

    rows = QTable.read(made / "targets.ecsv")
    assert list(rows["verdict"]) == ["cavities", "not searched", "cavities"]
    assert list(rows["n_cavities"]) == [1, 0, 1]
    assert list(rows["n_candidates"]) == [1, 0, 1]
    assert list(rows["obsid"]) == [100, 101, 102]
    assert "t1.fits" in rows["error"][1]
    assert str(folder) not in rows["error"][1]
    assert all(rows[name].info.description for name in rows.colnames)

    status = QTable.read(made / "literature.ecsv")["status"]
    assert list(status[:3]) == ["found", "candidate", "outside"]
    assert list(status[3:]) == ["not searched"] * 3 + ["not in the list"]

    text = (made / "index.html").read_text()
    page = Pictures(text)
    assert len(page.pictures) == 2 + 4  # a picture a target, and four figures
    assert all(source.startswith("data:image/") for source in page.pictures)
    assert page.other == []
    assert str(folder) not in text


def test_a_second_run_searches_only_what_failed_or_changed(whole, searched, capsys):
    folder, targets, known = whole
    out = folder / "again"
    arguments = (targets, "-o", out, "--literature", known)
    assert run(*arguments) == 2
    searched.clear()
    shutil.copy(folder / "kept.fits", folder / "t1.fits")
    assert run(*arguments) == 0
    assert searched == ["t1.fits"]
    searched.clear()
    assert run(*arguments) == 0
    assert searched == []
    # Another file; and all of them when that is asked for.
    with fits.open(folder / "t1.fits", mode="update") as hdus:
        hdus[0].data[0, 0] += 1
    assert run(*arguments) == 0
    assert searched == ["t1.fits"]
    searched.clear()
    assert run(*arguments, "--overwrite") == 0
    assert searched == ["t0.fits", "t1.fits", "t2.fits"]
    (folder / "t1.fits").unlink()


def test_new_literature_searches_the_targets_that_it_names(tmp_path, searched):
    targets = write_targets(tmp_path, 2)
    run_survey(targets, tmp_path / "out")
    searched.clear()
    survey = run_survey(targets, tmp_path / "out", literature=write_literature(tmp_path, [1]))
    assert searched == ["t1.fits"]
    assert survey.recall["found"] == 1
    assert survey.recall["candidates"] == 1


def test_tables_do_not_depend_on_the_number_of_runs(tmp_path):
    targets = write_targets(tmp_path, 2)
    run_survey(targets, tmp_path / "whole")
    (tmp_path / "t1.fits").rename(tmp_path / "away.fits")
    assert run_survey(targets, tmp_path / "parts").failed.keys() == {"T 1"}
    (tmp_path / "away.fits").rename(tmp_path / "t1.fits")
    assert run_survey(targets, tmp_path / "parts").failed == {}
    for name in ("catalogue.ecsv", "targets.ecsv"):
        equal_tables(tmp_path / "whole" / name, tmp_path / "parts" / name)


def test_an_error_of_the_program_is_told_with_another_code(tmp_path, monkeypatch, capsys):
    targets = write_targets(tmp_path, 2)

    def broken(*arguments, **options):
        raise ZeroDivisionError("in the search")

    monkeypatch.setattr("physml.cavities.predict.search_prepared", broken)
    assert run(targets, "-o", tmp_path / "out") == 1
    assert "ZeroDivisionError: in the search" in capsys.readouterr().err
    assert list(QTable.read(tmp_path / "out" / "targets.ecsv")["verdict"]) == ["not searched"] * 2


def test_targets_without_sky_coordinates_stand_beside_others(tmp_path):
    targets = write_targets(tmp_path, 2)
    data = fits.getdata(tmp_path / "t1.fits")
    fits.writeto(tmp_path / "t1.fits", data, overwrite=True)
    table = QTable.read(targets)
    table["x"], table["y"] = [np.nan, CENTRE[0]], [np.nan, CENTRE[1]]
    for name in ("ra", "dec", "redshift"):
        table[name][1] = np.nan
    table.write(targets, overwrite=True)
    survey = run_survey(targets, tmp_path / "out", literature=write_literature(tmp_path, [1]))
    assert survey.failed == {}
    assert np.isfinite(survey.cavities["ra"].value).tolist() == [True, True, False, False]
    assert np.isfinite(survey.cavities["radius"].value).tolist() == [True, True, False, False]
    np.testing.assert_allclose(survey.cavities["x"][2:], [c.x for c in CAVITIES], atol=0.6)
    assert set(survey.literature["status"]) == {"not placed", "not in the list"}


def test_a_foreign_folder_and_one_at_work_are_refused(tmp_path):
    targets = write_targets(tmp_path, 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="nothing is yet"):
        run_survey(targets, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()
    run_survey(targets, tmp_path / "out")
    import fcntl

    with (tmp_path / "out" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="nobody is at work"):
            run_survey(targets, tmp_path / "out")


def test_names_in_the_page_are_text(tmp_path):
    targets = write_targets(tmp_path, 1)
    table = QTable.read(targets)
    table["name"] = ["<script>alert(1)</script>"]
    table.write(targets, overwrite=True)
    survey = run_survey(targets, tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert len(list((tmp_path / "out" / "targets").iterdir())) == 1
    assert survey.targets["target"][0] == "<script>alert(1)</script>"


def test_template_can_be_read_and_is_not_overwritten(tmp_path, capsys):
    path = tmp_path / "targets.ecsv"
    assert run("--template", path) == 0
    assert QTable.read(path)["name"].tolist() == ["NGC 5813", "Abell 1835"]
    assert run("--template", path) == 2
    assert run(path, "-o", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "2 of 2 targets were not searched" in message


@pytest.mark.parametrize("arguments", [(), ("targets.csv",)])
def test_list_and_output_are_needed(arguments, capsys):
    assert run(*arguments) == 2
    assert "--output" in capsys.readouterr().err


def test_columns_of_the_literature_by_name():
    from physml.cavities.cli_survey import parse_columns

    assert parse_columns("target=My Name, distance=R") == {"target": "My Name", "distance": "R"}
    assert parse_columns(None) == {}
    with pytest.raises(InputError, match="KIND=NAME"):
        parse_columns("target")


def test_record_of_a_target_is_json(tmp_path):
    targets = write_targets(tmp_path, 1)
    run_survey(targets, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "targets" / "T_0" / "target.json").read_text())
    assert kept["verdict"] == "cavities"
    assert len(kept["mark"]) == 64
