"""The full system as the offline stage of reduced bases sees it: flat vectors in float64 on the host."""

import abc
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ....core.precision import in_double
from ....solvers.pde.affine import AffineSystem

_SYMMETRIC = 1e-8  # relative; products that differ by more are those of no symmetric operator

Vectors = Float[np.ndarray, "k m"]
Vector = Float[np.ndarray, " m"]


class AbstractFullOrder(abc.ABC):
    """Products and solves with the parts of an `AffineSystem` and with X = Σ_q θ̄_q A_q, the inner product of the space.

    Made by `full_order`. **Fields:** `system`; `reference` θ̄ `(Q,)`; `shape` of the unknowns, `size` m their number; `rhs`
    `(R, m)`.
    """

    def __init__(self, system: AffineSystem, reference):
        self.system, self.reference = system, reference
        self.shape = np.shape(system.rhs[0])
        self.rhs = np.stack([np.asarray(b, np.float64).ravel() for b in system.rhs])
        self.size = self.rhs.shape[1]
        functions = (system.coefficients, system.rhs_coefficients)  # closed over, as they may hold arrays of any kind
        self._coefficients = in_double(jax.jit(lambda parameters: tuple(jax.vmap(f)(parameters) for f in functions)))

    def check_symmetry(self) -> None:
        """**Raises:** `ValueError` where two random vectors show that an A_q is not symmetric or X not positive definite."""
        a, b = np.random.default_rng(0).normal(size=(2, self.size))
        of_a, of_b = self.products(a), self.products(b)
        allowed = _SYMMETRIC * np.linalg.norm(a) * np.linalg.norm(of_b, axis=1)
        for q in np.flatnonzero(~(np.abs(of_a @ b - of_b @ a) <= allowed)):
            raise ValueError(f"operator {q} of the affine system is not symmetric: ⟨b, A a⟩ = {of_a[q] @ b:.9g}, "
                             f"⟨a, A b⟩ = {of_b[q] @ a:.9g}; the reduced basis and its bound need A_q = A_qᵀ")  # fmt: skip
        self.norm(a)

    def coefficients(self, parameters: Any) -> tuple[Float[np.ndarray, "n q"], Float[np.ndarray, "n r"]]:
        """θ and φ of many parameters (every leaf with a leading axis)."""
        return self._coefficients(jax.tree.map(np.asarray, parameters))

    def product(self, vector: Vector) -> Vector:
        """X v."""
        return self.combination(self.reference, vector)

    def product_of_columns(self, columns: Float[np.ndarray, "m k"]) -> Float[np.ndarray, "m k"]:
        """X times a matrix `(m, k)`: the function that `pod` takes as an inner product."""
        return np.stack([self.product(column) for column in np.asarray(columns, np.float64).T], 1)

    def norm(self, vector: Vector) -> float:
        """‖v‖_X. Raises `ValueError` where its square is negative or NaN."""
        square = float(vector @ self.product(vector))
        if not square >= 0:
            raise ValueError(
                f"⟨v, X v⟩ = {square:.3g}: X = Σ θ̄_q A_q with θ̄ = {self.reference} is not positive definite"
            )
        return square**0.5

    def combination(self, theta: Float[np.ndarray, " q"], vector: Vector) -> Vector:
        """A(θ) v."""
        return theta @ self.products(vector)

    @abc.abstractmethod
    def products(self, vector: Vector) -> Float[np.ndarray, "q m"]:
        """A_q v for every part."""

    @abc.abstractmethod
    def riesz(self, functionals: Vectors) -> Vectors:
        """X⁻¹ w for every row. Raises `RuntimeError` where X z misses w by more than a relative 1e-9 (for operators; the
        factors of a matrix need no check)."""

    @abc.abstractmethod
    def solve(self, theta: Float[np.ndarray, " q"], phi: Float[np.ndarray, " r"]) -> Vector:
        """u with A(θ) u = b(φ), to the floor of float64. Raises `RuntimeError` if that fails."""
