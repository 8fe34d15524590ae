"""The scaling benchmark: its arithmetic, on costs whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest


def test_a_line_in_two_amounts_is_found_exactly(parts):
    amounts = [{"n": n, "m": m} for n, m in ((10, 1), (1000, 1), (10, 50), (400, 20))]
    line = parts.fit.fit(amounts, [3 + 0.2 * a["n"] + 0.5 * a["m"] for a in amounts])
    assert line.start == pytest.approx(3)
    assert line.slopes == pytest.approx({"n": 0.2, "m": 0.5})
    assert line.off == pytest.approx(0, abs=1e-9)
    assert line.at({"n": 1e6, "m": 100}) == pytest.approx(200_053)
    assert line.part("m", {"n": 10, "m": 90}) == pytest.approx(0.9)


def test_nothing_costs_less_than_nothing(parts):
    """Of values that fall, the best constant: it minimises the sum of (a / y - 1)^2."""
    values = np.array([4.0, 2.0, 1.0])
    line = parts.fit.fit([{"n": n} for n in (1, 2, 3)], values)
    assert line.slopes == {"n": 0.0}
    assert line.start == pytest.approx((1 / values).sum() / (1 / values**2).sum())
    assert line.off == pytest.approx(max(abs(line.start / values - 1)))


def test_measurements_that_do_not_tell_amounts_apart_are_refused(parts):
    with pytest.raises(ValueError, match="1 measurements do not tell apart a start and n"):
        parts.fit.fit([{"n": 5}], [1.0])
    with pytest.raises(ValueError, match="do not tell apart"):  # m is always twice n
        parts.fit.fit([{"n": n, "m": 2 * n} for n in (1, 2, 3)], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="0 measurements"):
        parts.fit.fit([], [])


def test_what_is_beyond_the_measurements(parts):
    line = parts.fit.fit([{"n": n, "m": m} for n, m in ((1, 5), (9, 5), (1, 7))], [1.0, 2.0, 3.0])
    assert not line.beyond({"n": 9, "m": 7})
    assert line.beyond({"n": 9.5, "m": 7})
    assert line.beyond({"n": 1, "m": 8})


@pytest.mark.parametrize(("alone", "workers"), [(0.0, 2), (0.25, 2), (0.5, 4), (1.0, 3)])
def test_speed_up_and_what_is_not_shared_are_each_others_inverse(parts, alone, workers):
    seconds = parts.fit.shared_time(80.0, alone, workers)
    assert seconds == pytest.approx(80 * (alone + (1 - alone) / workers))
    assert parts.fit.amdahl(80.0 / seconds, workers) == pytest.approx(alone)


def test_two_workers_are_never_better_than_twice_one(parts):
    assert parts.fit.amdahl(2.2, 2) == 0
    assert parts.fit.amdahl(0.8, 2) == 1


@pytest.mark.parametrize("smaller", [False, True])
@pytest.mark.parametrize("name", ["cavities", "background", "tomography"])
def test_the_ladders_tell_all_amounts_apart(parts, name, smaller):
    """A cost made up of any start and slopes is found again from the points of the recipe."""
    recipe = parts.recipes.RECIPES[name]
    recipe = parts.recipes.quick(recipe) if smaller else recipe
    for stage, points in (("preprocess", recipe.preparations), ("train", recipe.trainings)):
        amounts = []
        for point in points:
            size = {"n_samples": point.n, "shard_size": point.n}
            over = {"preprocess": point.preprocess, "train": point.train}
            s = parts.recipes.settings(name, simulate=size, **over)
            amounts.append(parts.recipes.amounts(name, stage, s))
        slopes = dict(zip(amounts[0], (0.1, 0.02, 0.003), strict=False))
        line = parts.fit.fit(amounts, [5 + sum(slopes[k] * a[k] for k in a) for a in amounts])
        assert line.slopes == pytest.approx(slopes, rel=1e-6), stage
        assert line.start == pytest.approx(5), stage


def test_a_quick_ladder_ends_sooner(parts):
    for recipe in parts.recipes.RECIPES.values():
        small = parts.recipes.quick(recipe)
        for what in ("preparations", "trainings"):
            few, all_ = getattr(small, what), getattr(recipe, what)
            assert max(p.n for p in few) < max(p.n for p in all_)
            assert len(few) == len({repr(p) for p in few})


def test_amounts_of_a_training(parts):
    settings, amounts = parts.recipes.settings, parts.recipes.amounts
    cavities = settings(
        "cavities",
        simulate={"n_samples": 1000},
        preprocess={"valid": 0.1, "test": 0.1},
        train={"epochs": 3, "decoder": {"share": 0.25}, "alarm_images": 70},
    )
    found = amounts("cavities", "train", cavities)
    assert found == pytest.approx({"passes": 1000 * 0.8 * 0.75 * 3, "samples": 1000, "alarms": 70})
    background = settings(
        "background",
        simulate={"n_samples": 50},
        preprocess={"valid": 0.1, "test": 0.1, "windows": 200},
        train={
            "epochs": 2,
            "source_method": {"epochs": 6},
            "calibrate": {"photons": 10, "standoffs": [5.0, 9.0]},
        },
    )
    found = amounts("background", "train", background)
    assert found == pytest.approx({"passes": 50 * 0.8 * 2, "windows": 1200, "photons": 20})


def test_large_sets_of_images_are_not_held_in_memory(parts):
    def held(pipeline, n):
        settings = parts.recipes.settings(
            pipeline, simulate={"n_samples": n}, preprocess={"valid": 0.04, "test": 0.06}
        )
        return parts.recipes.memory_amounts(pipeline, "train", settings)["samples"]

    image = 128 * 128 * 8
    most = 2**30 / image / 0.9  # a gigabyte of training images
    assert [held("cavities", n) for n in (100, 9000)] == [100, 9000]
    assert held("cavities", 20_000) == pytest.approx(most)
    # From 4,000 validation images on: image, detection and maps of each.
    assert held("cavities", 100_000) == pytest.approx(4000 * (8 + 12 + 14) / 8)
    assert held("cavities", 1e6) == held("cavities", 100_000)
    assert held("background", 1e6) == 1e6


def test_experiments_are_learned_from_or_calibrated_with(parts):
    """Of what is left of the validation and the test; the cell draws experiments of its own."""
    s = parts.recipes.settings(
        "tomography",
        simulate={"n_samples": 500, "shard_size": 500, "n_qubits": [1, 2]},
        preprocess={"valid": 0.1, "test": 0.1, "calibrate": 0.3},
        train={"epochs": 4, "cell": {"runs": 3, "experiments": 8}},
    )
    found = parts.recipes.amounts("tomography", "train", s)
    assert found == pytest.approx({"passes": 1000, "calibrations": 150, "cell": 48})


def write(parts, path, gpu=None, device="cpu"):
    """Rows of a machine whose costs are known.

    A shard takes 2 s + 0.1 s an image and 1 kB an image; preprocessing 5 s + 0.01 s and 3 kB;
    training 10 s + 0.02 s a pass, 0.01 s an image and 0.05 s an alarm, and 100 MB + 0.5 MB an
    image. Wall time is twice the processor time. Two workers preprocess 1.6 times as fast as one.
    """
    rows = parts.rows.Rows(path)
    rows.machine = {"processor": "known", "cores": 2, "memory_gb": 8, "gpu": gpu}

    def add(stage, n, amounts, cpu, size, mb):
        row = {"kind": "size", "pipeline": "cavities", "stage": stage, "n": n, "device": device}
        row |= {"amounts": amounts, "memory_amounts": {"samples": n}, "bytes": size}
        row |= {"cpu_s": cpu, "wall_s": 2 * cpu, "peak_mb": mb}
        rows.rows[f"{stage} {len(rows.rows)}"] = row

    for n in (100, 1000):
        add("simulate", n, {"samples": n}, 2 + 0.1 * n, 1000 * n, 300 + 0.2 * n)
        add("preprocess", n, {"samples": n}, 5 + 0.01 * n, 3000 * n, 400 + 0.1 * n)
    for n, passes, alarms in ((100, 70, 50), (1000, 700, 50), (100, 210, 50), (100, 70, 300)):
        cpu = 10 + 0.02 * passes + 0.01 * n + 0.05 * alarms
        amounts = {"passes": passes, "samples": n, "alarms": alarms}
        add("train", n, amounts, cpu, 4e7, 100 + 0.5 * n)
    for workers, wall in ((1, 16.0), (2, 10.0)):
        row = {"kind": "workers", "pipeline": "cavities", "stage": "preprocess", "where": "here"}
        rows.rows[f"workers {workers}"] = row | {"workers": workers, "wall_s": wall, "n": 400}
    return rows


def chain(rows, alone=0.5, few=4, many=24):
    """Rows of a chain that adds 0.2 s to a job, and 3 s over Slurm, 0.4 s of it its own."""
    rows.rows["alone"] = {"kind": "alone", "cpu_s": alone, "wall_s": alone}
    for jobs in (few, many):
        cpu = 2 + jobs * (alone + 0.2)
        here = {"kind": "jobs", "where": "here", "jobs": jobs, "slots": 1}
        rows.rows[f"here {jobs}"] = here | {"cpu_s": cpu, "main_s": 2 + 0.2 * jobs, "wall_s": cpu}
        slurm = {"kind": "jobs", "where": "slurm", "jobs": jobs, "slots": 4}
        cpu = 2 + jobs * (alone + 3)
        slurm |= {"cpu_s": cpu, "main_s": 1.5 + 0.4 * jobs, "wall_s": 6 + 0.9 * jobs}
        rows.rows[f"slurm {jobs}"] = slurm
    return rows


@pytest.fixture
def plan(parts, tmp_path):
    rows = write(parts, tmp_path / "rows.json")

    def make(n, cores=4, config=None, rows=rows, **more):
        path = None
        if config:
            path = tmp_path / "own.yaml"
            path.write_text(config)
        return parts.plan.plan(rows, "cavities", n, cores, path, **more)

    return make


OWN = """
simulate: {shard_size: 400}
preprocess: {valid: 0.1, test: 0.1}
train: {epochs: 5, decoder: {share: 0.25}, alarm_images: 3000}
"""


def test_simulation_is_planned_by_the_shard(plan):
    """1,000 images are two shards of 400 and one of 200; three jobs on two cores take two turns."""
    stage = plan(1000, cores=2, config=OWN).stages["simulate"]
    assert stage.jobs == 3
    assert stage.core_s == pytest.approx(3 * 2 + 0.1 * 1000)
    assert stage.wall_s == pytest.approx(2 * (2 + 40))
    assert stage.bytes == pytest.approx(1e6)
    assert stage.peak_mb == pytest.approx(300 + 0.2 * 400)


def test_preprocessing_is_planned_with_the_workers_that_it_is_given(plan):
    """Two workers are 1.6 times as fast, so that a quarter is not shared."""
    one = 5 + 0.01 * 8000
    own = OWN.replace("test: 0.1", "test: 0.1, resources: {threads: %d}")
    for threads in (1, 2, 8):
        stage = plan(8000, cores=8, config=own % threads).stages["preprocess"]
        assert stage.core_s == pytest.approx(one)
        assert stage.wall_s == pytest.approx(one * (0.25 + 0.75 / threads))
        assert stage.bytes == pytest.approx(2.4e7)
        assert stage.peak_mb == pytest.approx(threads * 440)
    stage = plan(8000, cores=2, config=own % 8).stages["preprocess"]
    assert stage.wall_s == pytest.approx(one / 1.6), "more workers than cores"


def test_a_training_on_a_processor_needs_no_gpu_hours(plan):
    made = plan(2000, config=OWN)
    stage = made.stages["train"]
    passes = 2000 * 0.8 * 0.75 * 5
    assert stage.core_s == pytest.approx(10 + 0.02 * passes + 0.01 * 2000 + 0.05 * 3000)
    assert stage.gpu_s == 0
    assert stage.peak_mb == pytest.approx(100 + 0.5 * 2000)
    assert stage.bytes == pytest.approx(4e7)
    assert made.total("core_s") == pytest.approx(sum(s.core_s for s in made.stages.values()))


def test_a_training_that_was_measured_on_a_gpu_needs_its_time(parts, tmp_path, plan):
    rows = write(parts, tmp_path / "gpu.json", gpu="a card", device="a card")
    stage = plan(2000, config=OWN, rows=rows).stages["train"]
    assert stage.wall_s == pytest.approx(2 * stage.core_s)
    assert stage.gpu_s == pytest.approx(stage.wall_s)
    assert plan(2000, config=OWN, rows=rows).total("gpu_s") == stage.gpu_s


@pytest.mark.parametrize(
    ("n", "epochs", "expected"),
    [
        (1000, 1, [False, False, False]),  # 600 passes; 700 were measured
        (1001, 1, [True, True, True]),
        (1000, 5, [False, False, True]),  # as many samples, but more passes
    ],
)
def test_what_goes_beyond_the_measurements_is_marked(parts, plan, n, epochs, expected):
    own = OWN.replace("epochs: 5", f"epochs: {epochs}").replace("3000", "300")
    made = plan(n, config=own)
    assert [made.stages[s].extrapolated for s in parts.recipes.STAGES] == expected
    assert made.extrapolated == any(expected)
    _, body = parts.tables.planned(made)
    words = {row[0]: row[-1] for row in body}
    for stage, beyond in zip(parts.recipes.STAGES, expected, strict=True):
        assert words[stage] == ("extrapolated" if beyond else "measured")


def test_the_table_of_growth_marks_what_it_extrapolates(parts, tmp_path):
    rows = write(parts, tmp_path / "rows.json")
    header, body = parts.tables.growth(rows, "cavities", 2)
    assert header[1:] == ("1,000", "10,000", "100,000", "1,000,000")
    found = {name: cells for name, *cells in body}
    cells = found["preprocess, core-hours"]
    assert [cell.startswith("~") for cell in cells] == [False, True, True, True]
    assert cells[-1] == f"~{(5 + 1e4) / 3600:.1f}"
    assert set(found["GPU-hours"]) == {"not measured"}


def test_what_the_chain_adds(parts, tmp_path):
    rows = chain(write(parts, tmp_path / "rows.json"))
    here, slurm = (parts.jobs.overhead(rows, where) for where in ("here", "slurm"))
    assert {k: here[k] for k in ("cpu_s", "main_s", "wall_s", "start_s")} == pytest.approx(
        {"cpu_s": 0.2, "main_s": 0.2, "wall_s": 0.2, "start_s": 2.0}
    )
    assert {k: slurm[k] for k in ("cpu_s", "main_s", "wall_s", "start_s")} == pytest.approx(
        {"cpu_s": 3.0, "main_s": 0.4, "wall_s": 0.9, "start_s": 6.0}
    )
    del rows.rows["slurm 24"]
    assert parts.jobs.overhead(rows, "slurm") is None


def test_the_chain_costs_by_the_job_and_cannot_be_outrun(parts, tmp_path, plan):
    rows = chain(write(parts, tmp_path / "rows.json"))
    small = OWN.replace("shard_size: 400", "shard_size: 10")
    made = plan(40_000, cores=1000, config=small, rows=rows)
    assert made.stages["snakemake"].core_s == pytest.approx(4002 * 0.2 + 2)
    assert made.stages["simulate"].wall_s == pytest.approx(4000 * 0.2)
    over_slurm = plan(40_000, cores=1000, config=small, rows=rows, slurm=True)
    assert over_slurm.stages["snakemake"].core_s == pytest.approx(4002 * 3 + 6)
    assert over_slurm.stages["simulate"].wall_s == pytest.approx(4000 * 0.4)
    # Each job also starts Snakemake, of which 2.6 s are its own.
    assert over_slurm.stages["simulate"].job_s == pytest.approx(2 + 1 + 2.6)
    assert any(line.startswith("simulate.shard_size") for line in made.advice)


def test_advice_is_given_where_the_settings_do_not_do(plan):
    little = "train: {resources: {mem_mb: 500, runtime_min: 1}, alarm_images: 300}"
    advice = plan(4000, cores=8, config="simulate: {shard_size: 2000}\n" + little).advice
    assert any(line.startswith("simulate.shard_size: 500 ") for line in advice)
    assert "train.resources.mem_mb: 3000" in advice  # 1.3 x 2,100 MB, in steps of 500
    assert any(line.startswith("train.resources.runtime_min: ") for line in advice)
    enough = "train: {resources: {mem_mb: 9000, runtime_min: 900}, alarm_images: 300}"
    assert plan(4000, cores=2, config="simulate: {shard_size: 2000}\n" + enough).advice == []
