"""Processes as smooth functions of real numbers whose prior is known, with gradients.

A process is the normalised sum of a unitary, of d^2 - 1 noise operators and of white noise::

    G_0 = U (1 + iA) / (1 - iA),  G_k = s_k Z_k / sqrt d,  T = w + sum_k G_k^+ G_k
    V_k = G_k T^-1/2,  E(rho) = sum_k V_k rho V_k^+ + w tr(T^-1 rho) / d

Hence it is completely positive and preserves the trace for any numbers. Each process with an
invertible Kraus operator is one of these: divide all operators by its positive part. The prior:
A by Haar's measure (Cayley's chart), Z_k complex Gaussian, the common scale of the weights
s_k^2 log-uniform from `WEIGHTS`, each weight log-normal about it, the white weight w log-uniform
from `WHITE`. Of two qubits each Z_k is a sum of products of Pauli matrices after the reference
unitary, and its terms on the first qubit alone, on the second alone and on both have log-normal
factors of their own (`LOCAL`): noise of real gates mostly acts on one qubit at a time. Thus
unitaries, few strong noise operators, many weak ones, local, correlated and depolarising noise and
every Kraus rank are all common.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.special import ndtr, ndtri

from ...core.operators import hermitian_basis
from ...core.process.channels import Complex, Floats, kraus_of_choi

#: Least and largest common weight s^2 of a noise operator.
WEIGHTS = (1e-7, 3.0)
#: Least and largest weight w of white noise.
WHITE = (1e-6, 1.0)
#: Standard deviation of the logarithm of each weight about the common one.
SPREAD = 2.0
#: Standard deviation of the logarithm of the factors of terms on one qubit and on both.
LOCAL = 1.5
#: Range of those logarithms, so that no path of the sampler overflows.
FACTORS = (-20.0, 10.0)


class Latent:
    """Chart of the processes of dimension d about a reference unitary.

    Parameters
    ----------
    reference : ndarray (d, d)
        Unitary at the origin of A.

    Attributes
    ----------
    size : int
        Real numbers of a process: d^2 - 1 of A, 1 + (d^2 - 1) of scales, 2 d^2 (d^2 - 1) of Z, of
        two qubits 3 (d^2 - 1) of factors, 1 of the white weight.
    """

    def __init__(self, reference: Complex) -> None:
        self.reference = reference
        self.d = len(reference)
        self.noise = self.d**2 - 1
        basis = np.asarray(hermitian_basis(self.d).numpy())
        self._basis, self._products = basis[1:], basis
        self._kinds = kinds_of_products(self.d)
        self._factors = 2 * self.noise + 1 + self.noise * 2 * self.d**2  # where they begin
        self.size = self._factors + self.noise * len(self._kinds) + 1
        pairs = np.triu_indices(self.d**2, 1)
        self._upper = (slice(None), *pairs)
        self._lower = (slice(None), pairs[1], pairs[0])
        self._diagonal = np.arange(self.d**2)
        self._low, self._high = np.log(WEIGHTS[0]), np.log(WEIGHTS[1])
        self._white = (np.log(WHITE[0]), np.log(WHITE[1] / WHITE[0]))

    def start(self, choi: Complex, rng: Generator, number: int) -> Floats:
        """Numbers (number, size) of processes near a Choi matrix; what it lacks is drawn."""
        d, m = self.d, self.noise
        kraus = kraus_of_choi(choi)
        u, values, w = np.linalg.svd(kraus[0])
        inverse = (w.conj().T / np.maximum(values, 0.05)) @ w
        noise = kraus[1:] @ inverse
        weights = np.maximum(np.square(np.abs(noise)).sum((-2, -1)) / d, 1e-4)
        out = rng.standard_normal((number, self.size))
        out[:, :m] = 0
        common = np.clip(np.mean(np.log(weights)), self._low + 0.5, self._high - 0.5)
        out[:, m] = ndtri((common - self._low) / (self._high - self._low))
        out[:, m + 1 : 2 * m + 1] = (np.log(weights) - common) / SPREAD
        self.reference = u @ w
        z = noise.reshape(m, -1) @ self._frame().conj().T * (d / weights)[:, None] ** 0.5
        out[:, self._factors : -1] = 0
        # At weights of nearly nothing the directions are unknown: they stay as drawn.
        known = weights > 1.01e-4
        out[:, -1] = ndtri((np.log(1e-4) - self._white[0]) / self._white[1])
        drawn = out[:, 2 * m + 1 : self._factors].reshape(number, m, d * d, 2)
        drawn[:, known] = 2**0.5 * np.stack([z.real, z.imag], -1)[known]
        return out

    def _frame(self) -> Complex:
        """Matrices (d^2, d^2), one a row, that the components of Z multiply.

        Of one qubit, whose components are all alike, any orthonormal ones do.
        """
        if not len(self._kinds):
            return np.eye(self.d**2, dtype=np.complex128)
        return np.asarray((self._products @ self.reference).reshape(self.d**2, -1))

    def parts(self, x: Floats) -> dict[str, np.ndarray]:
        """All that follows from numbers (n, size): operators, roots, packed Choi matrices."""
        d, m, n = self.d, self.noise, len(x)
        a = np.einsum("na,aij->nij", x[:, :m], self._basis)
        p = np.linalg.inv(np.eye(d) - 1j * a)
        g = np.empty((n, m + 1, d, d), np.complex128)
        g[:, 0] = self.reference @ (2 * p - np.eye(d))
        share = ndtr(x[:, m])
        logs = (self._low + (self._high - self._low) * share)[:, None] + (
            SPREAD * x[:, m + 1 : 2 * m + 1]
        )
        scale = np.exp(0.5 * np.clip(logs, -60, 30)) / (2 * d) ** 0.5
        logs = LOCAL * x[:, self._factors : -1].reshape(n, m, -1)
        factors = np.exp(np.clip(logs, *FACTORS) @ self._kinds)
        z = np.ascontiguousarray(x[:, 2 * m + 1 : self._factors]).view(np.complex128)
        z = z.reshape(n, m, d * d) * factors
        g[:, 1:] = (scale[:, :, None] * (z @ self._frame())).reshape(n, m, d, d)
        stacked = g.reshape(n, -1, d)
        white = np.exp(self._white[0] + self._white[1] * ndtr(x[:, -1]))
        t = stacked.conj().swapaxes(-1, -2) @ stacked + white[:, None, None] * np.eye(d)
        values, vectors = np.linalg.eigh(t)
        s = np.sqrt(values)
        dual = vectors.conj().swapaxes(-1, -2)
        r = (vectors / s[:, None, :]) @ dual
        v = (stacked @ r).reshape(n, m + 1, d, d)
        columns = v.transpose(0, 3, 2, 1).reshape(n, d * d, m + 1)
        choi = columns @ columns.conj().swapaxes(-1, -2)
        square = (r @ r).swapaxes(-1, -2) * (white / d)[:, None, None]
        choi += np.einsum("nij,ab->niajb", square, np.eye(d)).reshape(choi.shape)
        return {"a": a, "p": p, "g": g, "scale": scale, "z": z, "factors": factors, "s": s,
                "vectors": vectors, "r": r, "columns": columns, "choi": choi,
                "white": white}  # fmt: skip

    def pack(self, choi: Complex) -> Floats:
        """Choi matrices (n, d^2, d^2) as d^4 real numbers: diagonal, real and imaginary parts."""
        upper = choi[self._upper]
        diagonal = choi[:, self._diagonal, self._diagonal].real
        return np.concatenate([diagonal, upper.real, upper.imag], -1)

    def design(self, rho: Complex, effects: Complex) -> Floats:
        """Rows (M, d^4): probability of an effect after the process, from packed numbers.

        Parameters
        ----------
        rho, effects : ndarray (M, d, d)
            Input and effect of each row.
        """
        d = self.d
        rows = np.einsum("mij,mba->miajb", rho, effects).reshape(len(rho), d * d, d * d)
        upper = rows[self._upper]
        diagonal = rows[:, self._diagonal, self._diagonal].real
        return np.concatenate([diagonal, 2 * upper.real, -2 * upper.imag], -1)

    def pull(self, x: Floats, parts: dict[str, np.ndarray], packed: Floats) -> Floats:
        """Gradient (n, size) of a function whose gradient in packed numbers is (n, d^4)."""
        d, m, n = self.d, self.noise, len(x)
        side = d * d
        pairs = side * (side - 1) // 2
        gamma = np.zeros((n, side, side), np.complex128)
        off = 0.5 * (packed[:, side : side + pairs] + 1j * packed[:, side + pairs :])
        gamma[self._upper] = off
        gamma[self._lower] = off.conj()
        gamma[:, self._diagonal, self._diagonal] = packed[:, :side]
        columns = 2 * gamma @ parts["columns"]
        gv = columns.reshape(n, d, d, m + 1).transpose(0, 3, 2, 1).reshape(n, -1, d)
        stacked = parts["g"].reshape(n, -1, d)
        gg = gv @ parts["r"]
        # White noise: its Choi matrix is w (R^2)^T (x) 1 / d, and w stands in T as well.
        h = np.einsum("niaja->nji", gamma.reshape(n, d, d, d, d)) / d
        r, white = parts["r"], parts["white"]
        b = stacked.conj().swapaxes(-1, -2) @ gv + white[:, None, None] * (r @ h + h @ r)
        b = 0.5 * (b + b.conj().swapaxes(-1, -2))
        q, s = parts["vectors"], parts["s"]
        dual = q.conj().swapaxes(-1, -2)
        pairs_of = s[:, :, None] * s[:, None, :] * (s[:, :, None] + s[:, None, :])
        gt = -q @ ((dual @ b @ q) / pairs_of) @ dual
        gg = (gg + 2 * stacked @ gt).reshape(n, m + 1, d, d)
        out = np.empty((n, self.size))
        inner = 2j * parts["p"] @ gg[:, 0].conj().swapaxes(-1, -2) @ self.reference @ parts["p"]
        out[:, :m] = np.einsum("nij,aji->na", inner, self._basis).real
        weights = np.einsum("nkij,nkij->nk", gg[:, 1:].conj(), parts["g"][:, 1:]).real
        slope = np.exp(-0.5 * x[:, m] ** 2) / (2 * np.pi) ** 0.5 * (self._high - self._low)
        out[:, m] = 0.5 * slope * weights.sum(-1)
        out[:, m + 1 : 2 * m + 1] = 0.5 * SPREAD * weights
        gz = parts["scale"][:, :, None] * (gg[:, 1:].reshape(n, m, -1) @ self._frame().conj().T)
        kinds = LOCAL * (gz.conj() * parts["z"]).real @ self._kinds.T
        out[:, self._factors : -1] = kinds.reshape(n, -1)
        gz = np.ascontiguousarray(gz * parts["factors"])
        out[:, 2 * m + 1 : self._factors] = gz.reshape(n, -1).view(np.float64)
        direct = np.einsum("nij,nji->n", h, r @ r).real + np.einsum("nii->n", gt).real
        steep = np.exp(-0.5 * x[:, -1] ** 2) / (2 * np.pi) ** 0.5 * self._white[1]
        out[:, -1] = direct * white * steep
        return out

    def log_prior(self, x: Floats, parts: dict[str, np.ndarray]) -> tuple[Floats, Floats]:
        """Logarithm of the prior's density up to a constant, and its gradient."""
        m, a = self.noise, parts["a"]
        rest = x[:, m:]
        value = -0.5 * np.square(rest).sum(-1)
        gradient = np.empty_like(x)
        gradient[:, m:] = -rest
        square = np.eye(self.d) + a @ a
        value -= self.d * np.linalg.slogdet(square)[1]
        inner = -2 * self.d * np.linalg.solve(square, a)
        gradient[:, :m] = np.einsum("nij,aji->na", inner, self._basis).real
        return value, gradient


def kinds_of_products(d: int) -> Floats:
    """Which products of Pauli matrices (3, d^2) act on the first qubit alone, the second, both.

    In the order II, IX, ..., ZZ. Of one qubit there are no kinds, (0, d^2).
    """
    if d == 2:
        return np.zeros((0, d * d))
    first, second = (v.ravel() for v in np.indices((4, 4)) > 0)
    return np.array([first & ~second, ~first & second, first & second], np.float64)
