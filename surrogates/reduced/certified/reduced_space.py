"""A reduced space with everything that its online stage needs, built vector by vector."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from .abstract_full_order import AbstractFullOrder

_SPAN = 1e-13  # a vector is in the span, up to rounding, if what is left of it is this small
_PASSES = 3  # of Gram-Schmidt: two are enough for vectors far from the span, a third for the nearly dependent


@dataclass(frozen=True, eq=False)
class ReducedSpace:
    """X-orthonormal basis φ_i of snapshots, its Galerkin matrices, and an X-orthonormal basis of all residuals.

    The residual of Σ_i c_i φ_i is linear in x̂ = (φ_1(μ), …, φ_R(μ), −c_1 θ(μ), −c_2 θ(μ), …): its Riesz representer is
    Z F x̂ with Z orthonormal, so its dual norm is ‖F x̂‖ (Buhr, Engwer, Ohlberger and Rave 2014). No square of a small number
    is formed on the way, which is what keeps the bound free of the floor √ε.

    **Fields:** `basis` `(N, m)`, `matrices` `(Q, N, N)` of ⟨φ_i, A_q φ_j⟩, `rhs` `(R, N)` of ⟨b_r, φ_i⟩, `residuals` Z `(k, m)`,
    `factor` F `(k, R + QN)`.
    """

    full: AbstractFullOrder
    basis: Float[np.ndarray, "n m"]
    matrices: Float[np.ndarray, "q n n"]
    rhs: Float[np.ndarray, "r n"]
    residuals: Float[np.ndarray, "k m"]
    factor: Float[np.ndarray, "k p"]

    @classmethod
    def empty(cls, full: AbstractFullOrder) -> "ReducedSpace":
        """The space of no snapshot, whose residuals are the right-hand sides."""
        parts, terms = len(full.reference), len(full.rhs)
        nothing = np.zeros((0, full.size))
        space = cls(full, nothing, np.zeros((parts, 0, 0)), np.zeros((terms, 0)), nothing, np.zeros((0, 0)))
        return space._with_residuals(full.rhs)

    def __len__(self) -> int:
        return len(self.basis)

    def extended(self, snapshot: Float[np.ndarray, " m"]) -> "ReducedSpace":
        """The space with one more snapshot; the same object if the snapshot is in the space already, up to rounding."""
        if not np.isfinite(snapshot).all():
            raise ValueError("a snapshot holds NaN or infinity")
        rest, _, size = _orthonormalised(self.full, self.basis, snapshot)
        if size == 0:
            return self
        images = self.full.products(rest)
        cross = self.basis @ images.T
        n, parts = len(self), len(images)
        matrices = np.zeros((parts, n + 1, n + 1))
        matrices[:, :n, :n] = self.matrices
        matrices[:, :n, n] = matrices[:, n, :n] = cross.T
        matrices[:, n, n] = images @ rest
        space = replace(
            self,
            basis=np.vstack([self.basis, rest]),
            matrices=matrices,
            rhs=np.hstack([self.rhs, (self.full.rhs @ rest)[:, None]]),
        )
        return space._with_residuals(images)

    def truncated(self, n: int) -> "ReducedSpace":
        """The space of the first n snapshots."""
        factor = self.factor[:, : len(self.rhs) + n * len(self.matrices)]
        rows = int(np.max(np.flatnonzero(factor.any(1)), initial=-1)) + 1
        return replace(
            self,
            basis=self.basis[:n],
            matrices=self.matrices[:, :n, :n],
            rhs=self.rhs[:, :n],
            residuals=self.residuals[:rows],
            factor=factor[:rows],
        )

    def residual_norm(
        self, c: Float[np.ndarray, " n"], theta: Float[np.ndarray, " q"], phi: Float[np.ndarray, " r"]
    ) -> float:
        """‖b(φ) − A(θ) Σ_i c_i φ_i‖_X', computed from the full residual at full cost."""
        residual = phi @ self.full.rhs - self.full.combination(theta, c @ self.basis)
        return float(np.sqrt(max(residual @ self.full.riesz(residual[None])[0], 0.0)))

    def _with_residuals(self, functionals: Float[np.ndarray, "k m"]) -> "ReducedSpace":
        residuals, columns = self.residuals, []
        for representer in self.full.riesz(functionals):
            rest, projection, size = _orthonormalised(self.full, residuals, representer)
            if size > 0:
                residuals = np.vstack([residuals, rest])
                projection = np.append(projection, size)
            columns.append(projection)
        factor = np.zeros((len(residuals), self.factor.shape[1] + len(columns)))
        factor[: len(self.factor), : self.factor.shape[1]] = self.factor
        for column, values in enumerate(columns, self.factor.shape[1]):
            factor[: len(values), column] = values
        return replace(self, residuals=residuals, factor=factor)


def _orthonormalised(full: AbstractFullOrder, basis, vector) -> tuple[np.ndarray, np.ndarray, float]:
    """Unit vector q ⟂ basis, projection h and size s with vector = basisᵀ h + s q; s = 0 if it is in the span."""
    projection, rest = np.zeros(len(basis)), vector
    for _ in range(_PASSES):
        h = basis @ full.product(rest)
        projection, rest = projection + h, rest - h @ basis
    size = full.norm(rest)
    if not size > _SPAN * np.hypot(np.linalg.norm(projection), size):
        return rest, projection, 0.0
    return rest / size, projection, size
