"""A survey put together from the folders of its targets: tables, figures and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astropy.table import QTable

from physml.evaluation.figures import save_figure
from physml.io.atomic import read_json, write_text
from physml.io.catalogues import read_catalogue, write_catalogue

from ...data.literature import KnownCavity, plain_name
from ...data.targets import Target
from .figures import survey_figures
from .outcome import FAILED, OUTCOME
from .page import render_page
from .tables import cavity_table, literature_table, recall_summary, target_table


@dataclass
class Survey:
    """Results of a survey.

    Attributes
    ----------
    folder : Path
        Where all of it is.
    outcomes : list of dict
        What is known of each target, see `outcome`.
    catalogues : dict of QTable
        Of each target that was searched, by name.
    targets, cavities : QTable
        One row a target, one row a cavity.
    literature : QTable or None
        One row a known cavity.
    recall : dict
        Shares of the known cavities that were found, see `recall_summary`.
    failed : dict
        Why a target was not searched, by its name.
    bad_input : bool
        Whether all of these failed because of what was given.
    """

    folder: Path
    outcomes: list[dict[str, Any]]
    catalogues: dict[str, QTable]
    targets: QTable
    cavities: QTable
    literature: QTable | None = None
    recall: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    bad_input: bool = True


def folder_of(folder: Path, target: Target) -> Path:
    """Folder of a target's products in that of the survey."""
    return folder / "targets" / target.folder


def collect(
    folder: Path,
    targets: Sequence[Target],
    known: Sequence[KnownCavity] | None,
    failed: dict[str, str],
) -> Survey:
    """Tables of a survey from the folders of its targets.

    Parameters
    ----------
    folder : Path
        Of the survey.
    targets : sequence of Target
        In the order of the list.
    known : sequence of KnownCavity or None
        All of the literature's, where there is a table of it.
    failed : dict
        Why a target was not searched, by its name.
    """
    outcomes: list[dict[str, Any]] = []
    catalogues: dict[str, QTable] = {}
    for target in targets:
        if target.name in failed:
            kept: dict[str, Any] = {"verdict": FAILED, "error": failed[target.name]}
        else:
            kept = read_json(folder_of(folder, target) / OUTCOME)
            catalogues[target.name] = read_catalogue(folder_of(folder, target) / "cavities.ecsv")
        outcomes.append({**kept, "target": target.name, "folder": target.folder})
    survey = Survey(
        folder,
        outcomes,
        catalogues,
        target_table(outcomes, [target.carried for target in targets], known is not None),
        cavity_table(catalogues),
        failed=failed,
    )
    if known is not None:
        survey.literature = literature_table(outcomes, _not_searched(targets, known, failed))
        survey.recall = recall_summary(survey.literature, outcomes)
    return survey


def _not_searched(
    targets: Sequence[Target], known: Sequence[KnownCavity], failed: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Known cavities of targets that failed, or are not in the list."""
    listed = {plain_name(target.literature): target.name in failed for target in targets}
    out = []
    for one in known:
        state = listed.get(plain_name(one.target))
        if state is not False:
            status = "not in the list" if state is None else FAILED
            out.append({"target": one.target, "cavity": one.number, "status": status})
    return out


def write_survey(survey: Survey, title: str, record: Mapping[str, Any], weights: str) -> None:
    """Write tables, figures and page of a survey, each as a whole, over those of an earlier run.

    Parameters
    ----------
    survey : Survey
    title : str
        Heading of the page.
    record : mapping
        Run record that each file carries.
    weights : str
        Name or digest of the weights.
    """
    folder = survey.folder
    tables = {"catalogue": survey.cavities, "targets": survey.targets}
    for name, table in tables.items():
        for suffix in ("ecsv", "fits"):
            write_catalogue(folder / f"{name}.{suffix}", table, record, overwrite=True)
    if survey.literature is not None:
        tables["literature"] = survey.literature
        write_catalogue(folder / "literature.ecsv", survey.literature, record, overwrite=True)
    pictures = {}
    for name, figure in survey_figures(survey.cavities, survey.literature).items():
        path = folder / "figures" / f"{name}.png"
        pictures[name] = save_figure(figure, path, provenance=record, overwrite=True)
    versions = record["versions"]
    page = render_page(
        title,
        folder,
        survey.outcomes,
        survey.catalogues,
        tables,
        pictures,
        survey.recall or None,
        f"physml {versions.get('physml', '')}, weights {weights}, {record['ended']}",
    )
    write_text(folder / "index.html", page, overwrite=True)
