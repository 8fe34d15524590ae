"""The data of a batch of experiments in information form: estimate and covariance of hedged ML.

The filter keeps the maximum of the hedged likelihood

    sum_i n_i log tr(E_i rho) + beta log det rho

and its curvature there. This is a concave function, whose maximum is of full rank, unique, and a
function of the data alone: the order and the grouping of counts leave no trace. Newton steps in
coordinates scaled by the state itself follow it from block to block; the function is
self-concordant (Nesterov & Nemirovskii 1994). A step Y changes no probability by more than the
share ``|Y|``, as ``tr(A Y) <= |Y| tr A`` for a positive A: steps shorter than one stay among
the positive matrices, and short ones see a curvature that hardly changes. Hedging:
Blume-Kohout, PRL 105, 200504 (2010).

Memory: measurements that all experiments share are merged. Of the others a window is kept in full;
what leaves it is replaced by its second-order expansion where the estimate is then. By that time it
is a small part of the data, so that this costs next to nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.eigenframe import rotation, scales, unvec, vec
from ...core.estimator import batched
from . import single_filter
from .single_filter import LONGEST, SMALLEST

#: Strength of the hedge; one half is between the Jeffreys-like and the flat choice.
BETA = 0.5
#: Outcomes of shared measurements that are kept in full.
MOST_SHARED = 4096


class InformationFilter:
    """Hedged maximum likelihood of S experiments, followed block by block.

    Parameters
    ----------
    n_states : int
        S.
    d : int
        Dimension of the Hilbert space.
    window : int
        Rows (outcomes) of each experiment's own measurements that are kept in full.
    tolerance : float
        Newton decrement at which an experiment counts as converged.
    steps : int
        Most Newton steps an update; experiments that are not there yet go on at the next.
    beta : float
        Strength of the hedge.

    Attributes
    ----------
    values : Tensor (S, d)
        Eigenvalues of the estimate, in descending order.
    vectors : Tensor (S, d, d)
        Its eigenvectors.
    copies : Tensor (S,)
        Copies so far.
    decrement : Tensor (S,)
        Bound of the Newton decrement after the last step.
    information : Tensor (S, d * d, d * d)
        Curvature of the log-likelihood at the estimate before the last step, in fixed coordinates,
        without the hedge and without the normalisation by the trace.
    now : State or None
        Of a single experiment in numpy; None before the first update.
    """

    def __init__(
        self,
        n_states: int,
        d: int,
        *,
        window: int = 64,
        tolerance: float = 0.3,
        steps: int = 2,
        beta: float = BETA,
    ) -> None:
        self.n_states, self.d = n_states, d
        self.window, self.tolerance, self.steps, self.beta = window, tolerance, steps, beta
        f64 = torch.float64
        self.values = torch.full((n_states, d), 1 / d, dtype=f64)
        self.vectors = torch.eye(d, dtype=torch.complex128).repeat(n_states, 1, 1)
        self._frame: Tensor | None = None
        self.copies = torch.zeros(n_states, dtype=f64)
        self.decrement = torch.zeros(n_states, dtype=f64)
        self._places: dict[bytes, tuple[int, int]] = {}
        self._shared = torch.zeros(0, d * d, dtype=f64)
        self._shared_counts = torch.zeros(n_states, 0, dtype=f64)
        # Room for more rows: to copy all at each update would cost as much as the sums.
        self._room = torch.zeros(n_states, 0, d * d, dtype=f64)
        self._counts = torch.zeros(n_states, 0, dtype=f64)
        self._sizes: list[int] = []
        # A single experiment keeps its data here, and nothing in the tensors above.
        self._record = single_filter.Record(d) if n_states == 1 else None
        self.now: single_filter.State | None = None
        # Second-order expansion of what left the window: gradient at 0, and information.
        self._folded_score = torch.zeros(n_states, d * d, dtype=f64)
        self._folded = torch.zeros(n_states, d * d, d * d, dtype=f64)
        self._has_folded = False
        self.information = torch.zeros_like(self._folded)

    def add(self, effects: Tensor, counts: Tensor) -> None:
        """Take in counts (S, k) of effects (S, k, d, d) or (k, d, d), and follow the maximum."""
        if self._record is not None:
            self._add_single(self._record, effects, counts)
        else:
            shared = effects.ndim == 3
            effects, counts = batched(effects, counts, self.n_states)
            self.copies = self.copies + counts.sum(-1)
            if shared:
                self._merge(vec(effects[0]), counts)
            else:
                self._keep(vec(effects), counts)
                self._sizes.append(counts.shape[1])
                self._fold()
        self.follow(self.steps)

    def _add_single(self, record: single_filter.Record, effects: Tensor, counts: Tensor) -> None:
        """Take in counts of a single experiment: its measurements are all kept, and merged."""
        effects, counts = single_filter.checked(effects, counts) or batched(effects, counts, 1)
        rows = single_filter.vec(effects.resolve_conj().numpy()[0])
        record.add(rows, counts.numpy()[0])
        self.copies = torch.from_numpy(np.array([record.copies]))
        if record.size > MOST_SHARED:
            self._let_go(*self.record())
            record.clear()

    def _merge(self, rows: Tensor, counts: Tensor) -> None:
        """Add counts of a measurement that all experiments share to those of the same before."""
        key = rows.numpy().tobytes()
        if key not in self._places:
            first = len(self._shared)
            self._places[key] = first, first + len(rows)
            self._shared = torch.cat([self._shared, rows])
            self._shared_counts = torch.cat([self._shared_counts, torch.zeros_like(counts)], 1)
        first, last = self._places[key]
        self._shared_counts[:, first:last] += counts
        if len(self._shared) > MOST_SHARED:
            wide = self._shared.expand(self.n_states, -1, -1)
            self._let_go(wide, self._shared_counts)
            self._places.clear()
            self._shared, self._shared_counts = self._shared[:0], self._shared_counts[:, :0]

    @property
    def _rows(self) -> Tensor:
        """Rows (S, m, d * d) of own measurements in the window."""
        return self._room[:, : self._counts.shape[1]]

    def _keep(self, rows: Tensor, counts: Tensor) -> None:
        """Put own measurements into the window."""
        held = self._counts.shape[1]
        size = held + rows.shape[1]
        if size > self._room.shape[1]:
            wide = self._room.new_zeros(self.n_states, max(size, 2 * held), rows.shape[2])
            wide[:, :held] = self._rows
            self._room = wide
        self._room[:, held:size] = rows
        self._counts = torch.cat([self._counts, counts], 1)

    def _fold(self) -> None:
        """Let the older half of a window that is too full go, as its expansion."""
        total = sum(self._sizes)
        if total <= self.window:
            return
        gone = 0
        while self._sizes and total - gone > self.window // 2 and len(self._sizes) > 1:
            gone += self._sizes.pop(0)
        self._let_go(self._rows[:, :gone], self._counts[:, :gone])
        kept = self._rows[:, gone:].clone()
        self._room[:, : kept.shape[1]] = kept
        self._counts = self._counts[:, gone:].clone()

    def _let_go(self, rows: Tensor, counts: Tensor) -> None:
        """Keep the second-order expansion of these data at the estimate."""
        x = vec(self.matrix())
        score, information = _expand(rows, counts, x)
        self._folded = self._folded + information
        self._has_folded = True
        self._folded_score = self._folded_score + score + _apply(information, x)

    def record(self) -> tuple[Tensor, Tensor]:
        """Rows (S, m, d * d) and counts (S, m) that are kept in full."""
        if self._record is not None:
            rows, counts = torch.tensor(self._record.rows), torch.tensor(self._record.counts)
            return rows[None], counts[None]
        wide = torch.cat([self._shared.expand(self.n_states, -1, -1), self._rows], 1)
        return wide, torch.cat([self._shared_counts, self._counts], 1)

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Log-likelihood (S, P) of states with coordinates (S, P, d * d), without constants.

        Exact where nothing has left the window (always, for shared measurements).
        """
        rows, counts = self.record()
        logarithm = torch.log((x @ rows.mT).clamp(min=1e-300))
        out = (logarithm @ counts[..., None])[..., 0] + (x @ self._folded_score[..., None])[..., 0]
        return out - 0.5 * ((x @ self._folded) * x).sum(-1)

    @property
    def single(self) -> tuple[single_filter.Record, single_filter.State]:
        """Data and state of a single experiment.

        Raises
        ------
        ValueError
            There are several, or no data yet.
        """
        if self._record is None or self.now is None:
            raise ValueError("no single experiment with data")
        return self._record, self.now

    def folded(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-likelihood of what has left the record of a single experiment, at x (d * d, P)."""
        if not self._has_folded:
            return np.zeros(x.shape[1])
        score, information = self._folded_score[0].numpy(), self._folded[0].numpy()
        return np.asarray(score @ x - 0.5 * (x * (information @ x)).sum(0))

    def matrix(self) -> Tensor:
        """Hedged maximum-likelihood estimates (S, d, d)."""
        return (self.vectors * self.values[:, None].to(torch.complex128)) @ self.vectors.mH

    @property
    def frame(self) -> Tensor:
        """Rotations (S, d * d, d * d) from the eigenframe to fixed coordinates."""
        if self._frame is None:
            if self.now is not None:
                self._frame = torch.from_numpy(self.now.frame[None])
            else:
                self._frame = rotation(self.vectors)
        return self._frame

    def covariance(self) -> Tensor:
        """Inverse (S, d * d, d * d) of the scaled information with its hedge, in the eigenframe."""
        if self.now is not None:
            return torch.from_numpy(self.now.covariance(self.beta)[None])
        return inverse(
            scaled_information(self.information, self.frame, scales(self.values), self.beta)
        )

    def follow(self, steps: int) -> None:
        """At most so many Newton steps, where the tolerance is not reached yet."""
        if steps < 1:
            return
        if self._record is not None:
            self._follow_single(self._record, steps)
            return
        active: Tensor | None = None
        for _ in range(steps):
            self._step(active)
            left = torch.nonzero(self.decrement > self.tolerance)[:, 0]
            if len(left) == 0:
                return
            active = left if len(left) < self.n_states else None

    def _follow_single(self, record: single_filter.Record, steps: int) -> None:
        """All steps of one experiment."""
        data = single_filter.Data(
            record.rows,
            record.counts,
            self._folded_score[0].numpy() if self._has_folded else None,
            self._folded[0].numpy() if self._has_folded else None,
            record.copies,
            self.beta,
        )
        before = self.now
        if before is None:
            values, vectors = self.values[0].numpy(), self.vectors[0].numpy()
        else:
            values, vectors = before.values, before.vectors
        now = self.now = single_filter.follow(data, values, vectors, steps, self.tolerance)
        self.values = torch.from_numpy(now.values[None])
        self.vectors = torch.from_numpy(now.vectors[None])
        self.information = torch.from_numpy(now.information[None])
        self._frame, self.decrement = None, torch.from_numpy(now.left)

    def _step(self, active: Tensor | None) -> None:
        values, frame, vectors = (_take(t, active) for t in (self.values, self.frame, self.vectors))
        d = self.d
        # Coordinates of the estimate: in its own frame only the diagonal is not zero.
        x = _apply(frame[..., :d], values)
        score, information = self._expansion(active, x)
        scale = scales(values)
        # A count constrains tr rho = 1 through N tr rho, whose maximum over the scale is at 1.
        total = _take(self.copies, active)[:, None] + self.beta * d
        gradient = _apply(frame.mT, score) * scale
        gradient[:, :d] += self.beta - total * values
        hessian = scaled_information(information, frame, scale, self.beta)
        factor = torch.linalg.cholesky(hessian)
        step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        decrement = (step * gradient).sum(-1).clamp(min=0).sqrt() / min(1.0, self.beta) ** 0.5
        length = step.norm(dim=-1)
        size = (LONGEST / length).clamp(max=1)
        # A Newton step leaves of the decrement what the relative change of curvature amounts to.
        left = decrement * (1 - size + size * length).clamp(max=1)
        change = unvec(step * size[:, None])
        change.diagonal(dim1=-2, dim2=-1).add_(1)
        root = values.sqrt()
        new, turn = torch.linalg.eigh(root[:, :, None] * change * root[:, None, :])
        new = new.flip(-1).clamp(min=SMALLEST)
        new = new / new.sum(-1, keepdim=True)
        vectors = vectors @ turn.flip(-1)
        frame = rotation(vectors)
        if active is None:
            self.values, self.vectors, self._frame = new, vectors, frame
            self.information, self.decrement = information, left
        else:
            self.values[active], self.vectors[active] = new, vectors
            self.frame[active] = frame
            self.information[active], self.decrement[active] = information, left

    def _expansion(self, active: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient and curvature of the log-likelihood of all data at coordinates x."""
        rows, counts = self._rows, self._counts
        if active is not None:
            rows, counts = rows[active], counts[active]
        score, information = torch.zeros_like(x), x.new_zeros(len(x), x.shape[1], x.shape[1])
        if rows.shape[1]:
            score, information = _expand(rows, counts, x)
        if len(self._shared):
            rows, counts = self._shared, _take(self._shared_counts, active)
            p = x @ rows.mT
            weight = counts / p
            score = score + weight @ rows
            # One product for all experiments.
            outer = (rows[:, :, None] * rows[:, None, :]).flatten(1)
            information = information + ((weight / p) @ outer).reshape(information.shape)
        if self._has_folded:
            folded = _take(self._folded, active)
            score = score + _take(self._folded_score, active) - _apply(folded, x)
            information = information + folded
        return score, information


def scaled_information(information: Tensor, frame: Tensor, scale: Tensor, hedge: float) -> Tensor:
    """Information in scaled coordinates of a frame, plus the hedge's: (S, d * d, d * d)."""
    q = frame * scale[:, None, :]
    out = q.mT @ information @ q
    out.diagonal(dim1=-2, dim2=-1).add_(hedge)
    return out


def inverse(positive: Tensor) -> Tensor:
    """Inverse of symmetric positive matrices (S, m, m)."""
    # Sooner in a batch than `torch.cholesky_inverse`.
    factor = torch.linalg.cholesky(positive)
    one = torch.eye(positive.shape[-1], dtype=positive.dtype).expand_as(positive)
    half = torch.linalg.solve_triangular(factor, one, upper=False)
    return half.mT @ half


def _expand(rows: Tensor, counts: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and negative second derivative of sum n log(rows x)."""
    p = _apply(rows, x)
    information = rows.mT @ (rows * (counts / (p * p))[..., None])
    # As p is linear in x.
    return _apply(information, x), information


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector[..., None])[..., 0]


def _take(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor[rows]
