"""Profiles: Snakemake passes over what it does not know in a profile, so we must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fakes.chain import TOY

from .conftest import Run

PROFILES = Path(__file__).resolve().parents[2] / "workflows" / "profiles"
NAMES = sorted(path.name for path in PROFILES.iterdir())

#: Profile entries whose keys are names of rules.
BY_RULE = ("set-resources", "set-threads", "groups")


def known_options(text: str) -> set[str]:
    """Long options in a help text."""
    return set(re.findall(r"--([a-z][a-z0-9-]+)", text))


def rules_named(profile: dict) -> set[str]:
    """Rules that a profile speaks of."""
    named: set[str] = set()
    for entry in BY_RULE:
        value = profile.get(entry) or {}
        named |= set(value) if isinstance(value, dict) else {re.split("[:=]", v)[0] for v in value}
    return named


@pytest.fixture(scope="module")
def rules(snakemake: Run, root: Path, toy: Path, tmp_path_factory) -> set[str]:
    """Every rule that there is, from the root and alone."""
    folder = tmp_path_factory.mktemp("rules")
    options = ["--config", f"pipeline_dirs={TOY / 'pipelines'}"]
    listed = snakemake("-s", root / "Snakefile", "--list-rules", *options, cwd=folder).stdout
    listed += snakemake("-s", toy, "--list-rules", cwd=folder).stdout
    return set(re.findall(r"^(\w+)$", listed, re.M))


def test_the_two_profiles_are_there() -> None:
    """Neither may get lost by a misspelt folder."""
    assert NAMES == ["local", "slurm"]


@pytest.mark.parametrize("name", NAMES)
def test_profile_loads(snakemake: Run, toy: Path, tmp_path: Path, name: str) -> None:
    """The chain can be planned with it."""
    out = snakemake("--profile", PROFILES / name, "-s", toy, "-n", cwd=tmp_path).stdout
    assert "This was a dry-run" in out


@pytest.mark.parametrize("name", NAMES)
def test_profile_knows_its_options_and_rules(
    snakemake: Run, tmp_path: Path, rules: set[str], name: str
) -> None:
    """Every key is an option of Snakemake or of its plugins, every rule exists."""
    profile = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    options = known_options(snakemake("--help", cwd=tmp_path).stdout)
    assert set(profile) <= options
    assert rules_named(profile) <= rules
    assert profile["rerun-triggers"] == ["mtime", "params", "input", "software-env"]


def test_unknown_rules_would_be_noticed(rules: set[str]) -> None:
    """The check above can fail: it sees rules in each of the forms that Snakemake takes."""
    profile = {
        "set-resources": {"toy_train": {"mem_mb": 1}, "toy_trian": {"mem_mb": 1}},
        "set-threads": ["tarin=2"],
        "groups": {"simulate": "a"},
    }
    assert rules_named(profile) - rules == {"toy_trian", "tarin"}
    assert {"toy_train", "train", "cavities_simulate", "cavities_all"} <= rules


def test_what_the_slurm_profile_offers_exists(snakemake: Run, tmp_path: Path, rules) -> None:
    """Lines to be uncommented at a site are held to the same."""
    text = (PROFILES / "slurm" / "config.yaml").read_text()
    offered = re.sub(r"^( *)# ( *[a-z_-]+:( |$))", r"\1\2", text, flags=re.M)
    profile = yaml.safe_load(offered)
    assert {"slurm_account", "slurm_partition", "mem_mb"} <= set(profile["default-resources"])
    assert profile["set-resources"]["cavities_train"]["gpu_model"] == "a100"
    assert set(profile) <= known_options(snakemake("--help", cwd=tmp_path).stdout)
    assert rules_named(profile) | set(profile["slurm-array-jobs"].split(",")) <= rules


def test_gpu_jobs_take_turns_locally() -> None:
    """Without the limit a local run would ignore that a job asks for a GPU."""
    profile = yaml.safe_load((PROFILES / "local" / "config.yaml").read_text())
    assert profile["resources"]["gpu"] >= 1
