"""Command line: exit codes, streams, lazy imports, the same verbs for every pipeline."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml

from physml import __version__
from physml import pipeline as registry
from physml.cli import main as cli
from physml.cli import stage_commands as verbs
from physml.cli.main import main
from physml.pipeline import STAGES

PACKAGE = '''
"""A pipeline from outside, with stages that write what they were given."""

import json
import logging
import os
from pathlib import Path

import typer

from physml.config import PipelineSettings, SimulateBase, StageSettings
from physml.exceptions import Checkpointed, InputError, NonFiniteError
from physml.io.atomic import atomic_directory, write_json
from physml.pipeline import Pipeline
from physml.provenance import record

log = logging.getLogger("outside_pkg")
pipeline = Pipeline(
    name="outside",
    title="A pipeline from outside",
    settings="outside_pkg:Settings",
    simulate="outside_pkg:simulate",
    preprocess="outside_pkg:folder",
    train="outside_pkg:train",
    evaluate="outside_pkg:folder",
    report="outside_pkg:folder",
    cli="outside_pkg_cli:app",
)


class Train(StageSettings):
    """Training."""

    fails: str = ""


class Settings(PipelineSettings):
    """Settings of the pipeline from outside."""

    train: Train = Train()


def given(settings, **arguments):
    plain = {k: [str(p) for p in v] if isinstance(v, list) else v for k, v in arguments.items()}
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in plain.items()}
    return {
        **plain,
        "seed": settings.seed,
        "n": settings.simulate.n_samples,
        "omp": os.environ["OMP_NUM_THREADS"],
        "provenance": record("x", settings),
    }


def simulate(*, settings, shard, out):
    write_json(out, given(settings, shard=shard))


def folder(*, settings, out, **arguments):
    log.info("progress")
    log.debug("details")
    with atomic_directory(out) as path:
        write_json(path / "given.json", given(settings, **arguments))


def train(*, settings, data, out, threads, time_limit_s):
    match settings.train.fails:
        case "input":
            raise InputError.expected(data, "much", "little")
        case "stop":
            raise Checkpointed("run me again")
        case "nan":
            raise NonFiniteError("loss is nan", step=3)
        case "bug":
            raise ZeroDivisionError("division by zero")
        case "interrupt":
            raise KeyboardInterrupt
        case "memory":
            raise MemoryError
        case "system":
            open(data / "none")
        case "half":
            Path(out).write_text("half")
            raise RuntimeError("after half")
    write_json(out, given(settings, data=data, threads=threads, time_limit_s=time_limit_s))
'''

COMMANDS = """
import typer

app = typer.Typer()


@app.callback()
def extra() -> None:
    pass


@app.command()
def predict(image: str, times: int = 1) -> None:
    "Apply it."
    typer.echo(f"{image} " * times)
"""


@pytest.fixture(autouse=True)
def _as_before():
    """The command line sets what belongs to a process; put it back."""
    handler, root, ours = signal.getsignal(signal.SIGTERM), *map(logging.getLogger, ("", "physml"))
    levels = root.level, ours.level
    with mock.patch.dict(os.environ):
        yield
    signal.signal(signal.SIGTERM, handler)
    for old in [h for h in root.handlers if h.name == "physml"]:
        root.removeHandler(old)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def outside(tmp_path: Path, monkeypatch) -> Path:
    """Install the package from outside; gives its folder."""
    folder = tmp_path / "site"
    info = folder / "outside_pkg-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "outside_pkg.py").write_text(PACKAGE)
    (folder / "outside_pkg_cli.py").write_text(COMMANDS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-pkg\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[physml.pipelines]\noutside = outside_pkg:pipeline\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    registry._entries.cache_clear()
    yield folder
    registry._entries.cache_clear()
    for module in ("outside_pkg", "outside_pkg_cli"):
        sys.modules.pop(module, None)


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    """Inputs for every stage; the working folder."""
    folder = tmp_path / "work"
    for name in ("data", "evaluation"):
        (folder / name).mkdir(parents=True)
    for name in ("0.h5", "1.h5", "w.safetensors"):
        (folder / name).write_bytes(b"x")
    (folder / "bad.yaml").write_text("sede: 1\n")
    monkeypatch.chdir(folder)
    return folder


ARGUMENTS = {
    "simulate": ["--shard", "1"],
    "preprocess": ["0.h5", "1.h5", "--mem-mb", "300"],
    "train": ["--data", "data", "--time-limit", "2 h"],
    "evaluate": ["--data", "data", "--weights", "w.safetensors"],
    "report": ["--evaluation", "evaluation", "--weights", "w.safetensors"],
}
#: What arrives of them, and of three threads.
GIVEN = {
    "simulate": {"shard": 1},
    "preprocess": {"raw": ["0.h5", "1.h5"], "mem_mb": 300, "threads": 3},
    "train": {"data": "data", "threads": 3},
    "evaluate": {"data": "data", "weights": "w.safetensors", "threads": 3},
    "report": {"evaluation": "evaluation", "weights": "w.safetensors", "threads": 3},
}


def start(stage: str, *more: str, out: str = "out") -> int:
    return main(["outside", stage, *ARGUMENTS[stage], *more, "-o", out])


def found(out: str = "out") -> dict:
    path = Path(out)
    return json.loads((path if path.is_file() else path / "given.json").read_text())


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_tells_what_there_is() -> None:
    done = python("-m", "physml.cli.main", "--help")
    assert done.returncode == 0
    assert "cavities" in done.stdout
    assert "Examples:" in done.stdout
    for code in ("0 done", "1 failed", "2 bad input", "75 stopped", "130 interrupted"):
        assert code in cli.EXAMPLES
    assert "75" in done.stdout


# Help is immediate as long as none of these is imported.
HEAVY = ("torch", "numpy", "scipy", "astropy", "h5py", "dask", "sklearn", "skimage", "matplotlib")


@pytest.mark.parametrize(
    "arguments", ["--help", "cavities --help", "cavities train --help", "--version", "data -h"]
)
def test_help_imports_nothing_heavy(arguments: str) -> None:
    program = f"""
import sys
from physml.cli.main import main
code = main({arguments.split()!r})
print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)
sys.exit(code)
"""
    done = python("-c", program)
    assert done.returncode == 0
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    version = f"physml {__version__}\n"
    assert capsys.readouterr().out == version
    script = Path(sys.executable).with_name("physml")
    assert subprocess.check_output([script, "--version"], text=True) == version


def test_no_arguments_show_the_help(capsys) -> None:
    assert main([]) == 2
    text = capsys.readouterr()
    assert "Usage" in text.out + text.err


def test_pipeline_from_outside_has_every_verb(outside: Path, capsys) -> None:
    assert main(["--help"]) == 0
    assert "A pipeline from outside" in capsys.readouterr().out
    assert main(["outside", "--help"]) == 0
    text = capsys.readouterr().out
    for verb in (*STAGES, "predict"):
        assert verb in text
    for verb in STAGES:
        assert main(["outside", verb, "--help"]) == 0
        assert "--settings" in capsys.readouterr().out


def test_own_commands_are_imported_only_when_asked_for(outside: Path, files: Path, capsys) -> None:
    assert main(["outside", "simulate", "-o", "s.json"]) == 0
    assert "outside_pkg_cli" not in sys.modules
    assert main(["outside", "predict", "moon", "--times", "2"]) == 0
    assert capsys.readouterr().out == "moon moon \n"
    assert "outside_pkg_cli" in sys.modules


def test_stages_work_when_the_own_commands_are_broken(outside: Path, files: Path, capsys) -> None:
    (outside / "outside_pkg_cli.py").write_text("import no_such_dependency\n")
    assert main(["outside", "simulate", "-o", "s.json"]) == 0
    assert main(["outside", "--help"]) == 0
    text = capsys.readouterr()
    assert "simulate" in text.out
    assert "commands of outside cannot be listed" in text.err
    assert main(["outside", "predict", "x"]) == 1


def test_broken_package_is_named_and_breaks_no_other(outside: Path, capsys) -> None:
    (outside / "outside_pkg.py").write_text("import no_such_dependency\n")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "cavities" in text
    assert "(cannot be imported)" in text
    assert main(["outside", "simulate", "-o", "x"]) == 1
    assert "no_such_dependency" in capsys.readouterr().err


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_gets_its_arguments(
    outside: Path, files: Path, stage: str, monkeypatch
) -> None:
    started = time.monotonic()
    monkeypatch.setattr(verbs, "_STARTED", started)
    settings = '{"seed": 9, "simulate": {"n_samples": 20, "shard_size": 10}}'
    assert start(stage, "--settings", settings, "--threads", "3", "-q") == 0
    got = found()
    assert (got["seed"], got["n"], got["omp"]) == (9, 20, "3")
    assert got.items() >= GIVEN[stage].items()
    if stage == "train":  # less what starting took
        assert 7200 - (time.monotonic() - started) <= got["time_limit_s"] <= 7200


def test_settings_from_files_and_text(outside: Path, files: Path) -> None:
    (files / "a.yaml").write_text("seed: 1\nsimulate: {n_samples: 5}\n")
    (files / "b.yaml").write_text("seed: 2\n")
    base = ["outside", "simulate", "--config", "a.yaml", "-c", "b.yaml"]
    assert main([*base, "-o", "1.json"]) == 0
    assert main([*base, "--settings", '{"seed": 3}', "-o", "2.json"]) == 0
    assert [(f["seed"], f["n"]) for f in map(found, ("1.json", "2.json"))] == [(2, 5), (3, 5)]
    # Threads and memory come from the settings where the command line gives none.
    assert found("1.json")["omp"] == "1"
    threads = '{"simulate": {"resources": {"threads": 2}}}'
    assert main(["outside", "simulate", "--settings", threads, "-o", "3.json"]) == 0
    assert found("3.json")["omp"] == "2"


def test_record_starts_with_the_command(outside: Path, files: Path, monkeypatch) -> None:
    monkeypatch.setattr("physml.provenance.now", iter(["began", "ended"]).__next__)
    assert main(["outside", "simulate", "-o", "out"]) == 0
    record = found()["provenance"]
    assert (record["started"], record["ended"]) == ("began", "ended")


def train(fails: str, *more: str) -> int:
    return start("train", "--settings", json.dumps({"train": {"fails": fails}}), *more)


@pytest.mark.parametrize(
    ("fails", "code", "message"),
    [
        ("input", 2, "Error: data: expected much, found little"),
        ("stop", 75, "run me again"),
        ("nan", 1, "Error: loss is nan at step 3; no checkpoint yet"),
        ("bug", 1, "Error: ZeroDivisionError: division by zero (-vv shows the traceback)"),
        ("interrupt", 130, "Error: interrupted"),
        ("memory", 1, "Error: out of memory"),
        ("system", 1, "Error: data/none: no such file or directory"),
    ],
)
def test_exit_codes(
    outside: Path, files: Path, capsys, fails: str, code: int, message: str
) -> None:
    assert train(fails) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not (files / "out").exists()


def test_traceback_only_when_asked_for(outside: Path, files: Path, capsys) -> None:
    for flag, shown in (("-v", False), ("-vv", True)):
        assert train("bug", flag) == 1
        assert ("Traceback" in capsys.readouterr().err) is shown


SIMULATE = ["outside", "simulate", "-o", "x"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cavitys"], "No such command"),
        (["outside", "trian"], "No such command"),
        (["outside", "simulate"], "Missing option"),
        ([*SIMULATE, "--bogus"], "No such option"),
        ([*SIMULATE, "--shard", "two"], "--shard"),
        ([*SIMULATE, "--shard", "2"], "make shards 0 to 1"),
        (["outside", "preprocess", "none.h5", "-o", "x"], "none.h5: expected a shard"),
        (["outside", "train", "--data", "none", "-o", "x"], "none: expected the folder"),
        (["outside", "train", "--data", ".", "--time-limit", "3 kg", "-o", "x"], "--time-limit"),
        (["outside", "train", "--data", ".", "--time-limit", "-1", "-o", "x"], "a time above 0"),
        (["outside", "evaluate", "--data", ".", "--weights", ".", "-o", "x"], "found a folder"),
        ([*SIMULATE, "--settings", '{"sede": 1}'], "no such setting; did you mean 'seed'?"),
        (
            [*SIMULATE, "--settings", '{"simulate": {"n_samples": -1}}'],
            "simulate.n_samples: Input should be greater than 0",
        ),
        ([*SIMULATE, "--settings", "{"], "--settings: expected JSON"),
        ([*SIMULATE, "--settings", "[1]"], "expected a JSON object, found [1]"),
        ([*SIMULATE, "--config", "bad.yaml"], "bad.yaml: sede"),
        (["config", "nothing"], "one of the pipelines"),
        (["info", "nothing"], "no such file"),
    ],
)
def test_bad_arguments(outside: Path, files: Path, capsys, arguments, message) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert not (files / "x").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_existing_output_is_refused_and_kept(
    outside: Path, files: Path, capsys, stage: str
) -> None:
    settings = "--settings", '{"simulate": {"shard_size": 10}}'
    assert start(stage, *settings) == 0
    before = found()
    assert start(stage, *settings) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert found() == before
    settings = "--settings", '{"seed": 77, "simulate": {"shard_size": 10}}'
    assert start(stage, *settings, "--overwrite") == 0
    assert found()["seed"] == 77
    assert [p.name for p in files.iterdir() if p.name.startswith(".")] == []


def test_old_result_comes_back_when_the_new_run_fails(outside: Path, files: Path) -> None:
    (files / "out").write_text("old")
    assert train("bug", "--overwrite") == 1
    assert (files / "out").read_text() == "old"
    assert [p.name for p in files.iterdir() if p.name.startswith(".")] == []


def test_foreign_folder_is_not_overwritten(outside: Path, files: Path, capsys) -> None:
    (files / "data" / "thesis.tex").write_text("years")
    assert start("preprocess", "--overwrite", out="data") == 2
    assert "which --overwrite would delete" in capsys.readouterr().err
    assert (files / "data" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("before", "behind", "progress", "details"),
    [
        ([], [], True, False),
        (["-q"], [], False, False),
        ([], ["-q"], False, False),
        (["-v"], [], True, True),
        ([], ["-v"], True, True),
    ],
)
def test_verbosity(outside: Path, files: Path, capsys, before, behind, progress, details) -> None:
    arguments = [*ARGUMENTS["preprocess"], "-o", "out"]
    assert main([*before, "outside", "preprocess", *arguments, *behind]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert ("INFO progress" in err) is progress
    assert ("DEBUG details" in err) is details


def test_repeated_calls_do_not_repeat_messages(outside: Path, files: Path, capsys) -> None:
    for i in range(3):
        assert start("preprocess", out=f"out{i}") == 0
    assert capsys.readouterr().err.count("INFO progress") == 3


def test_threads_of_libraries_that_are_loaded_already() -> None:
    import torch

    verbs.limit_threads(2)
    assert torch.get_num_threads() == 2
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_info_prints_yaml_or_json(files: Path, capsys) -> None:
    import numpy as np

    from physml.io.fits import write_image
    from physml.provenance import record

    for name in ("a", "b"):
        write_image(files / f"{name}.fits", np.zeros((3, 4)), provenance=record(name, {"seed": 1}))
    assert main(["info", "a.fits"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["format"] == "fits"
    assert shown["provenance"]["stage"] == "a"
    assert main(["info", "--json", "a.fits"]) == 0
    assert json.loads(capsys.readouterr().out) == shown
    assert main(["info", "a.fits", "b.fits"]) == 0
    both = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [f["provenance"]["stage"] for f in both] == ["a", "b"]


def test_config_prints_defaults_merged_settings_and_schema(files: Path, capsys) -> None:
    from physml.cavities.settings import CavitiesSettings
    from physml.config import dump_schema, dump_yaml, load_settings

    assert main(["config", "cavities"]) == 0
    assert capsys.readouterr().out == dump_yaml(CavitiesSettings)
    assert main(["config", "cavities", "--schema"]) == 0
    assert capsys.readouterr().out == dump_schema(CavitiesSettings)
    (files / "a.yaml").write_text("simulate: {n_samples: 17}\n")
    assert main(["config", "cavities", "-c", "a.yaml", "--settings", '{"seed": 4}']) == 0
    merged = load_settings(CavitiesSettings, yaml.safe_load(capsys.readouterr().out))
    assert (merged.simulate.n_samples, merged.seed) == (17, 4)
    assert main(["config", "cavities", "--settings", '{"sede": 4}']) == 2


def test_interrupt_of_a_real_process(outside: Path, files: Path) -> None:
    """SIGINT from outside: exit code 130, one message, no temporary file."""
    (outside / "outside_pkg_cli.py").write_text(
        COMMANDS
        + """

@app.command()
def wait(path: str) -> None:
    import time
    from physml.io.atomic import atomic_path
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        typer.echo("ready")
        time.sleep(60)
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "physml.cli.main", "outside", "wait", "new/a"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(outside)},
        # Where the tests themselves run in the background, SIGINT is ignored, and inherited so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "Error: interrupted"
    assert list((files / "new").iterdir()) == []
