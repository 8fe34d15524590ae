"""Numbers of an evaluation whose figures, page and table are tested."""

from __future__ import annotations

import numpy as np

from physml.tomography.evaluation.methods import Outcome
from physml.tomography.evaluation.scores import scores

COPIES = [100, 1_000, 10_000, 100_000]


def power_law(first, power, n_states=40, regions=True):
    """Outcome whose infidelity falls as a power; 9 of 10 states are inside their region."""
    rng = np.random.default_rng(3)
    scatter = rng.exponential(1, n_states)
    n = np.array(COPIES, float)
    infidelity = first * scatter[:, None] / scatter.mean() * (n / n[0]) ** power
    radius = np.full_like(infidelity, np.nan)
    if regions:
        radius = infidelity * np.where(np.arange(n_states) % 10 == 0, 0.5, 2)[:, None]
    return Outcome(infidelity, radius, infidelity, 0.01, 0.02)


def steps(choose, update, estimate, updates=85):
    """Times as `latency.time_steps` gives them."""
    each = {"choose": choose, "update": update, "estimate": estimate}
    out = {name: {"median": ms, "mean": ms} for name, ms in each.items()}
    return out | {"updates": updates, "seconds": 1e-3 * updates * sum(each.values())}


def a_result():
    """What `evaluate.evaluate_all` would give."""
    rows = {
        "neural, global": power_law(0.05, -1.0),
        "neural, pauli": power_law(0.09, -0.5),
        "particle filter, global": power_law(0.1, -0.9),
        "linear, pauli": power_law(0.11, -0.5, regions=False),
    }
    lists = {}
    for place in ("1 qubit, r_0.9", "2 qubits, hs", "2 qubits, pure", "2 qubits, test"):
        chosen = {k: v for k, v in rows.items() if "test" not in place or k.startswith("neural")}
        lists[place] = {
            "name": place.partition(", ")[2],
            "n_qubits": int(place[0]),
            "states": 40,
            "methods": {
                k: scores(v, COPIES, replicas=50, rng=np.random.default_rng(0))
                for k, v in chosen.items()
            },
        }
    times = {
        "neural": steps(0.2, 0.5, 0.3),
        "neural_batch": steps(0.01, 0.01, 0.01),
        "particle_filter": steps(2.0, 27.0, 0.2),
    }
    latency = {"n_qubits": 2, "copies": 100_000, "batch": 160, **times}
    latency |= {"ratio": 27.2 / 0.8, "ratio_batch": 27.2 / 0.02}
    return {"copies": COPIES, "level": 0.9, "lists": lists, "latency": latency}
