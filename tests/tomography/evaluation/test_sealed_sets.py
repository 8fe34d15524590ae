"""The sealed families: what is known of such states from elsewhere, and that the lists stay."""

from __future__ import annotations

import numpy as np
import pytest
import qutip
import torch
from torch import Tensor

from physml.random import stream
from physml.tomography.core.operators import concurrence, purity
from physml.tomography.core.states import MIXTURE
from physml.tomography.evaluation import sealed_sets
from physml.tomography.evaluation.sealed_sets import SEALED, sealed_list
from physml.tomography.settings import MixtureSettings


def qubit(rho: Tensor, which: int) -> Tensor:
    """Reduced states (n, 2, 2) of one qubit."""
    return torch.einsum("sikjk->sij" if which == 0 else "skikj->sij", rho.reshape(-1, 2, 2, 2, 2))


@pytest.mark.parametrize("name", SEALED)
def test_lists_hold_states(name: str) -> None:
    rho = sealed_list(name, 50)
    assert rho.shape == (50, 4, 4)
    torch.testing.assert_close(rho, rho.mH, rtol=0, atol=0)
    assert float(torch.linalg.eigvalsh(rho).min()) > -1e-12
    trace = torch.einsum("sii->s", rho).real
    torch.testing.assert_close(trace, torch.ones_like(trace), rtol=0, atol=1e-12)
    assert torch.equal(rho[:7], sealed_list(name, 7))
    assert float((rho[0] - rho[1]).abs().max()) > 1e-3


def test_families_are_not_those_of_the_training() -> None:
    recipe = {name for name, share in MixtureSettings().parts.items() if share > 0}
    assert not (recipe | set(MIXTURE)) & set(SEALED)


def test_ranks() -> None:
    for name in ("rank_2", "nearly_pure_rank_2", "dephased_bell"):
        values = torch.linalg.eigvalsh(sealed_list(name, 100))
        assert float(values[:, 1].max()) < 1e-12
        assert float(values[:, 2].min()) > 1e-5
    second = torch.linalg.eigvalsh(sealed_list("nearly_pure_rank_2"))[:, 2]
    assert 1e-3 <= float(second.min()) < 2e-3
    assert 0.05 < float(second.max()) <= 0.1


def test_flips_leave_the_concurrence_that_wootters_found() -> None:
    rho = sealed_list("dephased_bell", 200)
    larger = torch.linalg.eigvalsh(rho)[:, -1]
    torch.testing.assert_close(concurrence(rho), 2 * larger - 1, rtol=0, atol=1e-6)


def test_damping_is_that_of_qutip() -> None:
    """The channel by its Kraus operators in qutip, on the same draws."""
    rng = stream(3, "test", 0)
    found = sealed_sets.damped_bell(4, 4, rng)
    again = stream(3, "test", 0)
    decay = [again.uniform(*sealed_sets.DECAY, 4) for _ in range(2)]
    lower = qutip.basis(2, 0) * qutip.basis(2, 1).dag()
    for k in range(4):
        rho = qutip.ket2dm(qutip.bell_state("00"))
        for place in range(2):
            g = decay[place][k]
            keep = qutip.Qobj(np.diag([1, np.sqrt(1 - g)]))
            ops = [qutip.expand_operator(o, [2, 2], place) for o in (keep, np.sqrt(g) * lower)]
            rho = sum((o * rho * o.dag() for o in ops), 0 * rho)
        expected = np.linalg.eigvalsh(rho.full())
        np.testing.assert_allclose(torch.linalg.eigvalsh(found[k]).numpy(), expected, atol=1e-12)
        # Local unitaries change no spectrum of either qubit.
        for place in range(2):
            own = np.linalg.eigvalsh(rho.ptrace(place).full())
            mine = torch.linalg.eigvalsh(qubit(found[k : k + 1], place))[0].numpy()
            np.testing.assert_allclose(mine, own, atol=1e-12)


def test_reductions_without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """W keeps a concurrence of 2/3 when a qubit is lost, GHZ none (Duer, Vidal, Cirac 2000)."""
    monkeypatch.setattr(sealed_sets, "NOISE", (0.0, 0.0))
    w = sealed_sets.w_reduced(5, 4, stream(4, "test", 0))
    ghz = sealed_sets.ghz_reduced(5, 4, stream(4, "test", 1))
    torch.testing.assert_close(concurrence(w), torch.full((5,), 2 / 3).double(), atol=1e-6, rtol=0)
    assert float(concurrence(ghz).max()) < 1e-6
    torch.testing.assert_close(purity(ghz), torch.full((5,), 0.5).double())


def test_products_are_products() -> None:
    rho = sealed_list("product_mixed", 20)
    whole = torch.einsum("sij,skl->sikjl", qubit(rho, 0), qubit(rho, 1)).reshape(20, 4, 4)
    torch.testing.assert_close(rho, whole, rtol=0, atol=1e-12)


def test_separable_states_and_choi_states() -> None:
    separable = sealed_list("separable_rank_2", 100)
    assert float(concurrence(separable).max()) < 1e-6
    assert float(torch.linalg.eigvalsh(separable)[:, 1].max()) < 1e-12
    # A channel keeps the trace: the half that it does not act on stays white.
    half = torch.eye(2, dtype=torch.complex128).expand(100, 2, 2) / 2
    torch.testing.assert_close(qubit(sealed_list("choi", 100), 0), half)


def test_x_states_have_the_concurrence_of_yu_and_eberly() -> None:
    rho = sealed_list("x_states", 100)
    outer = rho[:, 0, 3].abs() - (rho[:, 1, 1] * rho[:, 2, 2]).real.sqrt()
    inner = rho[:, 1, 2].abs() - (rho[:, 0, 0] * rho[:, 3, 3]).real.sqrt()
    expected = 2 * torch.maximum(outer, inner).clamp(min=0)
    torch.testing.assert_close(concurrence(rho), expected, rtol=0, atol=1e-6)


def test_two_spins_are_those_of_qutip() -> None:
    x, z, one = qutip.sigmax(), qutip.sigmaz(), qutip.qeye(2)
    rng = stream(5, "test", 0)
    found = sealed_sets.ising_thermal(3, 4, rng)
    again = stream(5, "test", 0)
    g = again.uniform(*sealed_sets.FIELD, 3)
    temperature = np.exp(again.uniform(*np.log(sealed_sets.TEMPERATURE), 3))
    for k in range(3):
        h = -qutip.tensor(z, z) - g[k] * (qutip.tensor(x, one) + qutip.tensor(one, x))
        rho = (-h / temperature[k]).expm()
        np.testing.assert_allclose(found[k].numpy(), (rho / rho.tr()).full(), atol=1e-12)


def test_leaks() -> None:
    values = torch.linalg.eigvalsh(sealed_list("leaky_bell"))
    assert float(values[:, 1].max()) < 1e-12
    assert 2e-3 < float(values[:, 2].min()) < 5e-3
    assert float(values[:, 2].max()) <= 0.3


def test_lists_are_frozen() -> None:
    """Purities of the first states as they were when the lists were made."""
    found = {name: round(float(purity(sealed_list(name, 20)).mean()), 9) for name in SEALED}
    assert found == FROZEN


def test_what_is_no_list() -> None:
    with pytest.raises(ValueError, match="unknown list 'ghz'"):
        sealed_list("ghz")
    with pytest.raises(ValueError, match="1000 states, asked for 1001"):
        sealed_list("rank_2", 1001)


FROZEN = {
    "rank_2": 0.669071156,
    "nearly_pure_rank_2": 0.956238535,
    "dephased_bell": 0.705353173,
    "damped_bell": 0.621567683,
    "w_reduced": 0.504812949,
    "ghz_reduced": 0.450234977,
    "product_mixed": 0.644662109,
    "thermal": 0.656646584,
    "separable_rank_2": 0.722544613,
    "x_states": 0.451296541,
    "ising_thermal": 0.655848098,
    "choi": 0.604749002,
    "leaky_bell": 0.859514952,
}
