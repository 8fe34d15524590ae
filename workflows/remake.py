"""Remake the weights of a science from nothing: all rounds of its recipe, then compare the cards.

    python workflows/remake.py cavities -o remade            the whole recipe: hours to days
    python workflows/remake.py cavities -o remade --smoke    the same steps, small: minutes
    python workflows/remake.py cavities --compare            the recipe beside the shipped card
    python workflows/remake.py tomography --preset three_qubits -o remade    weights of a preset

The recipe is `pipelines/<science>/rounds.yaml`: for each round the settings that differ from
`config.yaml`. Some presets have weights of their own: with `--preset` the settings differ from
`<preset>.yaml` over `config.yaml`, and the rounds are in `<preset>_rounds.yaml`.
A round after the first starts from the weights of the one before (`init: previous`), or has them
choose what is measured (`designer: previous`).
Each runs as the chain does, through Snakemake, in a folder of its own, so that a call that was
stopped continues. The last weights go to `<folder>/<science>.safetensors`, those of a preset to
`<folder>/<science>_<preset>.safetensors`, with their card, and `recipe.md` beside them lists each
setting that differs from the shipped card's, with the reason.
The shipped weights are never written.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from physml.config import load_settings, upstream
from physml.config.loading import read_config
from physml.exceptions import PhysmlError, SettingsError
from physml.io.atomic import write_text
from physml.io.weights import read_metadata
from physml.models import shipped_weights
from physml.pipeline import get_pipeline
from physml.provenance import jsonable

ROOT = Path(__file__).resolve().parents[1]
#: Word for the weights of the round before.
PREVIOUS = "previous"
#: Settings that change no result.
NO_RESULT = ("resources", "checkpoint_minutes", "shard_size", "designer_sha256")
#: Settings that name weights: their stage and name.
WEIGHTS = (("train", "init"), ("simulate", "designer"))
#: A setting that a card does not know.
ABSENT = "-"

Recipe = list[dict[str, Any]]


def rounds_of(science: str, preset: str | None = None) -> tuple[Recipe, dict[str, str]]:
    """Settings of each round over `config.yaml`, and why some differ from the shipped card's.

    Parameters
    ----------
    science : str
    preset : str, optional
        Of a preset that has weights of its own: the settings are over those of the preset.

    Raises
    ------
    SettingsError
        The file has other keys, or no round; or there is none of this preset.
    """
    folder = ROOT / "pipelines" / science
    path = folder / ("rounds.yaml" if preset is None else f"{preset}_rounds.yaml")
    if not path.is_file():
        own = sorted(x.name.removesuffix("_rounds.yaml") for x in folder.glob("*_rounds.yaml"))
        raise SettingsError(
            f"{preset!r} of {science} has no weights of its own: expected a preset among {own}"
        )
    given = read_config(path)
    rounds, explained = given.pop("rounds", None), given.pop("explained", {})
    if given or not isinstance(rounds, list) or not rounds:
        raise SettingsError(f"{path}: expected 'rounds', a list, and 'explained', found {given}")
    return [dict(r or {}) for r in rounds], {str(k): str(v) for k, v in explained.items()}


def settings_of_round(
    science: str, number: int, smoke: bool, init: Path | None, preset: str | None = None
) -> Any:
    """Checked settings of one round.

    Parameters
    ----------
    science : str
    number : int
        From 0.
    smoke : bool
        With the small sizes of `small_files`.
    init : Path, optional
        Weights of the round before.
    preset : str, optional
        See `rounds_of`.
    """
    folder = ROOT / "pipelines" / science
    rounds, _ = rounds_of(science, preset)
    own = _with_previous(rounds[number], init)
    presets = [] if preset is None else [folder / f"{preset}.yaml"]
    sources: list[Any] = [folder / "config.yaml", *presets, own]
    if smoke:
        sources += small_files(science, preset)
    return load_settings(get_pipeline(science).settings_model(), *sources)


def small_files(science: str, preset: str | None = None) -> list[Path]:
    """Files of the small sizes, those of a preset last, if it has any."""
    folder = ROOT / "pipelines" / science
    own = folder / f"{preset}_smoke.yaml"
    return [folder / "smoke.yaml", *([own] if own.is_file() else [])]


def _with_previous(settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """Settings with a path for the weights of the round before."""
    out = dict(settings)
    for stage, name in WEIGHTS:
        own = dict(out.get(stage) or {})
        if own.get(name) == PREVIOUS:
            if weights is None:
                raise SettingsError("rounds.yaml: the first round has no previous weights")
            out[stage] = {**own, name: str(weights)}
    return out


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of all settings that can change a result."""
    for name, value in settings.items():
        if name in NO_RESULT:
            continue
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            # Such weights are those before, whatever their file was called.
            named = any(f"{prefix}{name}" == ".".join(place) for place in WEIGHTS)
            yield f"{prefix}{name}", PREVIOUS if named and value not in (None, "none") else value


def recipe_of_card(card: Mapping[str, Any]) -> Recipe:
    """Settings of each round that a card tells of, flat, oldest first.

    A calibration that was made anew for finished networks belongs to their last round.
    """
    rounds = [a["settings"] for a in card.get("lineage", [])]
    found = [dict(flat(r)) for r in [*rounds, card["provenance"]["settings"]]]
    for step in card.get("recalibrated", []):
        found[-1] |= dict(flat(step["provenance"]["settings"]))
    return found


def recipe(science: str, smoke: bool = False, preset: str | None = None) -> Recipe:
    """Settings of each round as the files say, flat."""
    rounds, _ = rounds_of(science, preset)
    found = []
    for number in range(len(rounds)):
        before = Path("previous.safetensors")
        settings = settings_of_round(science, number, smoke, before, preset)
        found.append(dict(flat(jsonable(upstream(settings, "train")))))
    return found


def differences(one: Recipe, other: Recipe) -> list[tuple[int, str, Any, Any]]:
    """Round, key and both values, wherever two recipes differ; rounds are counted from 1.

    Parameters
    ----------
    one, other : list of dict
        Flat settings of each round; a round that one lacks has no settings there.
    """
    out = []
    for number in range(max(len(one), len(other))):
        a, b = (r[number] if number < len(r) else {} for r in (one, other))
        for key in sorted({*a, *b}):
            # JSON has lists where settings have tuples.
            values = [_plain(x.get(key, ABSENT)) for x in (a, b)]
            if values[0] != values[1]:
                out.append((number + 1, key, *values))
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def page(
    science: str, made: Recipe, smoke: bool, preset: str | None = None
) -> tuple[str, list[str]]:
    """The comparison with the shipped card as Markdown, and what has no explanation."""
    shipped = recipe_of_card(read_metadata(shipped_weights(science, preset)))
    _, explained = rounds_of(science, preset)
    small: dict[str, Any] = {}
    for path in small_files(science, preset) if smoke else ():
        small |= dict(flat(read_config(path)))
    rows, unexplained = [], []
    for number, key, theirs, ours in differences(shipped, made):
        why = "small, for a trial" if _covered(key, small) else explained.get(key)
        if why is None:
            unexplained.append(f"round {number}: {key}: {theirs} -> {ours}")
        rows.append(f"| {number} | `{key}` | {theirs} | {ours} | {why or '**none**'} |")
    lines = [
        f"# Recipe of {named(science, preset)}, {len(made)} rounds, beside the shipped one",
        "",
        "| round | setting | shipped | here | reason |",
        "|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n", unexplained


def _covered(key: str, small: Mapping[str, Any]) -> bool:
    """Whether a setting, or the mapping that it is in, is one of the small ones."""
    return any(key == name or key.startswith(f"{name}.") for name in small)


def named(science: str, preset: str | None) -> str:
    """Name of weights, as of their file."""
    return shipped_weights(science, preset).stem


def remake(
    science: str, out: Path, smoke: bool, cores: int, preset: str | None = None
) -> list[str]:
    """Run all rounds and compare the card with the shipped one; what has no explanation."""
    out = out.resolve()
    if out == shipped_weights(science).resolve().parent:
        raise SettingsError(f"{out} holds the shipped weights: choose another folder")
    rounds, _ = rounds_of(science, preset)
    weights: Path | None = None
    for number in range(len(rounds)):
        folder = out / f"round_{number + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        settings = settings_of_round(science, number, smoke, weights, preset)
        text = yaml.safe_dump(jsonable(settings.model_dump(mode="json")), sort_keys=False)
        write_text(folder / "settings.yaml", text, overwrite=True)
        made = f"results/{science}/model.safetensors"
        command = [
            *(sys.executable, "-m", "snakemake", "--cores", str(cores), "--directory", folder),
            *("-s", ROOT / "pipelines" / science / "Snakefile"),
            *("--configfile", folder / "settings.yaml", "--rerun-incomplete", "--", made),
        ]
        print(f"{named(science, preset)}: round {number + 1} of {len(rounds)}", flush=True)
        subprocess.run([str(c) for c in command], check=True, cwd=folder)
        weights = folder / made
    assert weights is not None
    for ending in (".safetensors", ".md"):
        shutil.copyfile(weights.with_suffix(ending), out / f"{named(science, preset)}{ending}")
    text, unexplained = page(science, recipe_of_card(read_metadata(weights)), smoke, preset)
    write_text(out / "recipe.md", text, overwrite=True)
    return unexplained


def main() -> int:
    """Remake, or compare; 1 where a difference has no explanation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("science", help="cavities, background or tomography")
    parser.add_argument("-o", "--output", type=Path, help="folder of the new weights")
    parser.add_argument("--preset", help="with weights of its own, such as three_qubits")
    parser.add_argument("--smoke", action="store_true", help="small: minutes, learns little")
    parser.add_argument("--compare", action="store_true", help="only compare the recipe")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    a = parser.parse_args()
    try:
        if a.compare:
            made = recipe(a.science, a.smoke, a.preset)
            text, unexplained = page(a.science, made, a.smoke, a.preset)
            print(text)
        elif a.output is None:
            parser.error("-o: expected a folder, or --compare")
        else:
            unexplained = remake(a.science, a.output, a.smoke, a.cores, a.preset)
    except PhysmlError as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return error.returncode
    for line in unexplained:
        print(f"differs from the shipped card without a reason: {line}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
