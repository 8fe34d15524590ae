"""The chain in all its modes, on a pipeline from outside that takes milliseconds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.chain import TOY

from .conftest import WEIGHTS, Run, planned, train_log, weight

Plan = Callable[..., dict[str, int]]
STAGES = ["simulate", "preprocess", "train", "evaluate", "report"]
DIRS = f"pipeline_dirs={TOY / 'pipelines'}"


def rate(results: Path) -> float:
    """Decay rate that a run of the toy found."""
    return json.loads((results / "report" / "summary.json").read_text())["rate"]


def test_alone_from_another_folder(done: Path) -> None:
    """One pipeline by -s: all stages run, and the answer is the physics that was put in."""
    results = done / "results" / "toy"
    # 9 series of 25,000 counts: the rate is known to 1 / sqrt(N var(t)) = 0.0013.
    assert rate(results) == pytest.approx(0.5, abs=5 * 0.0013)
    assert not list(results.glob("raw/*")), "raw shards are temporary"
    assert sorted(p.name for p in (results / "data").glob("*.h5")) == ["test.h5", "train.h5"]
    logs = {str(p.relative_to(done / "logs/toy")) for p in (done / "logs/toy").rglob("*.log")}
    assert logs == {f"{stage}.log" for stage in STAGES[1:]} | {f"simulate/{i}.log" for i in (0, 1)}
    assert (done / "logs" / "toy" / "train.benchmark.tsv").read_text().startswith("s\t")
    assert (results / "model.safetensors").stat().st_mode & 0o200, "not protected by default"


def test_finished_run_has_nothing_to_do(plan: Plan, toy: Path, done: Path, tmp_path: Path) -> None:
    """Neither in its folder nor with --directory from another one."""
    assert plan("-s", toy, cwd=done) == plan("-s", toy, "-d", done, cwd=tmp_path) == {}


def test_everything_from_the_root(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """Two pipelines through one chain: each has its own settings, folder and rules."""
    options = ["pipelines=toy,twin", DIRS, "twin={simulate: {rate: 0.8}, seed: 1}"]
    out = snakemake("-s", root / "Snakefile", "--config", *options, cwd=tmp_path).stdout
    for name, expected in (("toy", 0.5), ("twin", 0.8)):
        assert f"{name}_train" in out
        assert rate(tmp_path / "results" / name) == pytest.approx(expected, abs=0.01)


def test_root_plans_every_pipeline(plan: Plan, root: Path, tmp_path: Path) -> None:
    """Without a choice the root runs its own pipelines and those from outside."""
    jobs = plan("-s", root / "Snakefile", "--config", DIRS, cwd=tmp_path)
    ours = {path.parent.name for path in root.glob("pipelines/*/Snakefile")}
    assert "cavities" in ours
    assert set(jobs) == {f"{p}_{s}" for p in {*ours, "toy", "twin"} for s in STAGES} | {"all"}


def test_one_from_the_root(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """A pipeline's name as target runs that one only."""
    arguments = ["-s", root / "Snakefile", "-n", "--config", DIRS, "preset=smoke", "--", "toy"]
    jobs = planned(snakemake(*arguments, cwd=tmp_path).stdout)
    assert set(jobs) == {f"toy_{stage}" for stage in STAGES} | {"toy"}
    assert jobs["toy_simulate"] == 2, "the preset has 8 samples in shards of 6"


def test_root_and_alone_share_results(snakemake: Run, root: Path, done: Path) -> None:
    """What ran alone is up to date for the root: same files, same settings."""
    options = ["-n", "--config", "pipelines=toy", DIRS, "--", "toy_report"]
    assert planned(snakemake("-s", root / "Snakefile", *options, cwd=done).stdout) == {}


IMPORTER = """
module decay:
    snakefile: {snakefile!r}
    config: {config}
    pathvars:
        results="analysis/decay",
        logs="analysis/logs",

use rule * from decay as decay_*

rule half_life:
    default_target: True
    input:
        report="analysis/decay/report",
    output:
        "half_life.txt",
    shell:
        "python -c 'import json, math; "
        "print(math.log(2) / json.load(open(\\"{{input.report}}/summary.json\\"))[\\"rate\\"])'"
        " > {{output}}"
"""


def test_imported_by_somebody_else(snakemake: Run, toy: Path, tmp_path: Path) -> None:
    """A foreign Snakefile uses the pipeline under its own names, with its own folder."""
    config = {"simulate": {"rate": 0.25}}
    (tmp_path / "Snakefile").write_text(IMPORTER.format(snakefile=str(toy), config=config))
    # A key of the importer's own configuration is none of the pipeline's business.
    snakemake("--config", "cohort=a", cwd=tmp_path)
    assert float((tmp_path / "half_life.txt").read_text()) == pytest.approx(
        np.log(2) / 0.25, rel=0.02
    )
    assert not (tmp_path / "results").exists()
    assert (tmp_path / "analysis" / "logs" / "train.log").is_file()


def test_root_imported_by_somebody_else(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """The root as a whole can be a module, too; its folders follow."""
    config = {"pipelines": "toy", "pipeline_dirs": str(TOY / "pipelines")}
    (tmp_path / "Snakefile").write_text(
        f"module ml:\n    snakefile: {str(root / 'Snakefile')!r}\n    config: {config}\n"
        '    pathvars:\n        results="out",\n\nuse rule * from ml as ml_*\n'
    )
    out = snakemake("-n", cwd=tmp_path).stdout
    assert planned(out)["ml_toy_train"] == 1
    assert "out/toy/model.safetensors" in out


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("imported", ["toy", "root"])
def test_whose_target_is_the_default(
    plan: Plan, root: Path, toy: Path, tmp_path: Path, imported: str, own: bool
) -> None:
    """The importer's first rule, if it has one before the import, as in any other Snakefile."""
    config = {"pipelines": "toy", "pipeline_dirs": str(TOY / "pipelines")}
    snakefile, config = (toy, {}) if imported == "toy" else (root / "Snakefile", config)
    rule = "rule all:\n    output:\n        'mine.txt',\n    shell:\n        'touch {output}'\n"
    (tmp_path / "Snakefile").write_text(
        f"{rule if own else ''}\nmodule ml:\n    snakefile: {str(snakefile)!r}\n"
        f"    config: {config}\n\nuse rule * from ml{' as ml_*' if own else ''}\n"
    )
    jobs = plan(cwd=tmp_path)
    if own:
        assert jobs == {"all": 1}
    else:
        prefix = "" if imported == "toy" else "toy_"
        assert set(jobs) == {prefix + stage for stage in STAGES} | {"all"}


@pytest.mark.parametrize(
    ("override", "rerun"),
    [
        ("evaluate={bins: 7}", STAGES[3:]),
        ("train={steps: 30}", STAGES[2:]),
        ("preprocess={test: 0.5}", STAGES),  # needs the raw shards, which are gone
        ("simulate={rate: 0.3}", STAGES),
        ("seed=7", STAGES),
        ("train={resources: {threads: 2, mem_mb: 999}}", []),  # changes no result
    ],
)
def test_only_what_follows_runs_again(
    plan: Plan, toy: Path, done: Path, override: str, rerun: list[str]
) -> None:
    """One setting overridden: its stage and those after it, nothing before."""
    assert set(plan("-s", toy, "--config", override, cwd=done)) - {"all"} == set(rerun)


def test_stage_version_runs_it_again(plan: Plan, toy: Path, done: Path) -> None:
    """A raised stage version is a change, though no setting and no rule changed."""
    jobs = plan("-s", toy, cwd=done, TOY_TRAIN_VERSION="2")
    assert set(jobs) - {"all"} == set(STAGES[2:])


def test_raw_shards_are_kept_on_request(plan: Plan, toy: Path, prepared: Path) -> None:
    """With --notemp a changed preprocessing does not simulate again."""
    jobs = plan("-s", toy, "--config", "preprocess={test: 0.5}", cwd=prepared)
    assert set(jobs) - {"all"} == set(STAGES[1:])


def test_override_is_carried_out(snakemake: Run, toy: Path, prepared: Path) -> None:
    """Not only planned: the second run replaces what follows and leaves the rest alone."""
    snakemake("-s", toy, "--until", "train", cwd=prepared)
    data = prepared / "results" / "toy" / "data" / "train.h5"
    written, before = data.stat().st_mtime_ns, weight(prepared)
    # The state of the first training is still there: the toy carries on from it.
    snakemake("-s", toy, "--until", "train", "--config", "train={steps: 41}", cwd=prepared)
    assert data.stat().st_mtime_ns == written
    assert weight(prepared) != before


def test_shard_count_changes_no_data(snakemake: Run, toy: Path, done: Path, tmp_path: Path) -> None:
    """Four shards instead of two: the same series, so the same weights."""
    snakemake("-s", toy, "--until", "train", "--config", "simulate={shard_size: 3}", cwd=tmp_path)
    assert weight(tmp_path) == weight(done)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train={steps: 0}", "train.steps: Input should be greater than 0 (got '0')"),
        ("train={step: 9}", "train.step: no such setting; did you mean 'steps'?"),
        ("tain={steps: 9}", "tain: no such setting; did you mean 'train'?"),
        ("simulate={rate: fast}", "simulate.rate: Input should be a valid number"),
    ],
)
def test_bad_setting(
    snakemake: Run, toy: Path, tmp_path: Path, override: str, message: str
) -> None:
    """Refused before anything runs, with the key, what came and what is allowed."""
    out = snakemake("-s", toy, "--config", override, cwd=tmp_path, rc=1).stdout
    assert message in out
    assert "Traceback" not in out
    assert not (tmp_path / "results").exists()


def test_bad_setting_from_the_root(snakemake: Run, root: Path, tmp_path: Path) -> None:
    """The same message through the root, which names the pipeline."""
    options = ["--config", DIRS, "toy={train: {steps: 0}}"]
    out = snakemake("-s", root / "Snakefile", *options, cwd=tmp_path, rc=1).stdout
    assert "pipeline toy: " in out
    assert "train.steps: Input should be greater than 0 (got 0)" in out.replace("'0'", "0")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("cavitys={seed: 1}", "unknown: cavitys"),
        ("pipelines=cavitys", "unknown: cavitys"),
        ("preset=smok", "smok.yaml"),
        ("pipeline_dirs=/no/such", "no such folder: /no/such"),
    ],
)
def test_bad_root_configuration(
    snakemake: Run, root: Path, tmp_path: Path, option: str, message: str
) -> None:
    """A misspelt key of the root's own is not passed over."""
    out = snakemake("-s", root / "Snakefile", "-n", "--config", option, cwd=tmp_path, rc=1).stdout
    assert message in out


def test_unregistered_pipeline(snakemake: Run, toy: Path, tmp_path: Path) -> None:
    """A Snakefile whose package is not installed says so."""
    text = toy.read_text().replace('"pipeline": "toy"', '"pipeline": "tory"')
    text = text.replace("../../../../../", f"{toy.parents[5]}/").replace(
        '"report/', f'"{toy.parent}/report/'
    )
    (tmp_path / "config.yaml").write_text("{}")
    (tmp_path / "Snakefile").write_text(text)
    out = snakemake("-n", cwd=tmp_path, rc=1).stdout
    known = re.search(r"expected one of the pipelines (.*), found 'tory'", out)
    assert known is not None
    assert {"cavities", "toy", "twin"} <= set(known[1].split(", "))


def test_killed_training_is_resumed_by_retries(
    snakemake: Run, toy: Path, done: Path, prepared: Path
) -> None:
    """SIGKILL in mid-training and --retries 1: resumed by itself, same weights bit for bit."""
    out = snakemake("-s", toy, "--retries", "1", "--config", "train={killed_at: 20}", cwd=prepared)
    assert "Trying to restart job" in out.stdout
    assert "begins at step 20" in train_log(prepared)
    assert weight(prepared) == weight(done)


def test_killed_training_is_resumed_by_the_same_command(
    snakemake: Run, toy: Path, prepared: Path
) -> None:
    """Without retries the chain fails; the state stays, the output does not."""
    command = ["-s", toy, "--until", "train", "--config", "train={killed_at: 20}"]
    snakemake(*command, cwd=prepared, rc=1)
    assert not (prepared / WEIGHTS).exists()
    assert (prepared / f"{WEIGHTS}.state").is_dir()
    snakemake(*command, cwd=prepared)
    assert "begins at step 20" in train_log(prepared)


def test_protected_weights(snakemake: Run, toy: Path, prepared: Path) -> None:
    """On request the weights are read-only; by default they are not, so that they can follow."""
    snakemake("-s", toy, "--until", "train", "--config", "protect=true", cwd=prepared)
    assert (prepared / WEIGHTS).stat().st_mode & 0o222 == 0


def test_time_limit_only_under_slurm(snakemake: Run, toy: Path, done: Path, prepared: Path) -> None:
    """Training is told the job's time where a scheduler would kill it, and only there."""
    assert "time limit None" in train_log(done)
    override = ["--config", "train={resources: {runtime_min: 3}}"]
    snakemake("-s", toy, "--until", "train", *override, cwd=prepared, SLURM_JOB_ID="1")
    (told,) = re.findall(r"time limit ([0-9.]+) s", train_log(prepared))
    assert 120 < float(told) <= 180
