"""Reports in every science: the shipped weights on an example, and one page of all results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physml import provenance
from physml.config import upstream
from physml.io.atomic import read_json, write_json, write_text
from physml.models import load_for_report
from physml.templates import render


@dataclass(frozen=True)
class Measured:
    """Evaluation and weights that a report shows beside its example.

    Attributes
    ----------
    predictor : object
        With the shipped weights, or those of this run where none are shipped.
    whose : str
        Whose weights they are, in words.
    metrics : dict
        Numbers of the evaluation.
    figures : Path
        Folder of its pictures.
    """

    predictor: Any
    whose: str
    metrics: dict[str, Any]
    figures: Path

    @classmethod
    def read(cls, pipeline: str, evaluation: Path, weights: Path, threads: int) -> Measured:
        """Numbers of an evaluation, and the predictor that the report applies.

        Parameters
        ----------
        pipeline : str
        evaluation : Path
            Folder that the evaluation wrote.
        weights : Path
            Of this run.
        threads : int
            Of the networks.
        """
        import torch

        torch.set_num_threads(threads)
        metrics = read_json(Path(evaluation) / "metrics.json")
        predictor, whose = load_for_report(pipeline, Path(weights))
        return cls(predictor, whose, metrics, Path(evaluation) / "figures")

    def pictures(self, names: Iterable[str]) -> dict[str, Path]:
        """Pictures of the evaluation, in this order, those that it did not make left out.

        A name may end in ``*``: then all whose rest is a number, the largest first.
        """
        found: dict[str, Path] = {}
        for name in names:
            stem = name.removesuffix("*")
            for path in sorted(self.figures.glob(f"{name}.png"), reverse=True):
                rest = path.stem.removeprefix(stem).removeprefix("_")
                if not rest or rest.isdigit():
                    found[path.stem] = path
        return found


def report_record(
    settings: Any, inputs: Mapping[str, Any], whose: str, simulated: bool
) -> dict[str, Any]:
    """Run record of a report."""
    return provenance.record(
        "report",
        upstream(settings, "report"),
        dict(inputs),
        {"weights": whose, "simulated": simulated},
    )


def write_report(
    folder: Path,
    summary: Mapping[str, Any],
    record: Mapping[str, Any],
    template: str,
    **values: Any,
) -> None:
    """Write summary.json and index.html into a folder that is being made.

    Parameters
    ----------
    folder : Path
        It holds overview.png.
    summary : mapping
        Essentials of the example and of the evaluation; kept, with the record, as JSON.
    record : mapping
    template : str
        Of the page, see `physml.templates`.
    **values
        Of the page, beside ``summary`` and ``overview``.
    """
    content = provenance.jsonable({**summary, "provenance": record})
    write_json(folder / "summary.json", content, overwrite=True)
    page = render(template, summary=summary, overview=folder / "overview.png", **values)
    write_text(folder / "index.html", page)
