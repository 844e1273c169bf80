"""The full system as the offline stage of reduced bases sees it: flat vectors in float64 on the host."""

import abc
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.sparse.linalg import splu

from ....core.precision import in_double
from ....solvers.linear.krylov.cg import CG
from ....solvers.linear.linear_solve import solve, status_message
from ....solvers.linear.operators.diffusion import Diffusion
from ....solvers.linear.preconditioners.fast_poisson import FastPoisson
from ....solvers.linear.solution import Status
from ....solvers.pde.affine import AffineSystem

_RTOL = 1e-14  # of solves, in the natural norm; they end there or at the floor of float64
_ACCEPTED = 1e-9  # a solve that ends above this is an error, and so is a representer
_SYMMETRIC = 1e-8  # relative; products that differ by more are those of no symmetric operator

Vectors = Float[np.ndarray, "k m"]
Vector = Float[np.ndarray, " m"]


class FullOrder(abc.ABC):
    """Products and solves with the parts of an `AffineSystem` and with X = Σ_q θ̄_q A_q, the inner product of the space.

    **Arguments:**

    - `reference`: θ̄ `(Q,)`, by default ones; X must be positive definite.
    - `inverse`: for operators, X⁻¹ on one array of unknowns, traced by JAX; every result is checked. By default the fast
      Poisson solve where X is the Laplacian, else conjugate gradients.

    **Fields:** `shape` of the unknowns, `size` m, `rhs` `(R, m)`.

    **Raises:** `ValueError` where random vectors show that an A_q is not symmetric or X not positive definite.
    """

    def __init__(self, system: AffineSystem, reference):
        self.system, self.reference = system, reference
        self.shape = np.shape(system.rhs[0])
        self.rhs = np.stack([np.asarray(b, np.float64).ravel() for b in system.rhs])
        self.size = self.rhs.shape[1]
        functions = (system.coefficients, system.rhs_coefficients)  # closed over, as they may hold arrays of any kind
        self._coefficients = in_double(jax.jit(lambda parameters: tuple(jax.vmap(f)(parameters) for f in functions)))

    @classmethod
    def of(cls, system: AffineSystem, reference=None, inverse: Callable | None = None) -> "FullOrder":
        """For matrices by sparse factorisation, for lineax operators by their products."""
        reference = np.ones(len(system.operators)) if reference is None else np.asarray(reference, np.float64)
        if reference.shape != (len(system.operators),):
            raise ValueError(f"reference has shape {reference.shape}; expected one value for each operator, "
                             f"({len(system.operators)},)")  # fmt: skip
        by_products = hasattr(system.operators[0], "mv")
        full = _Operators(system, reference, inverse) if by_products else _Matrices(system, reference)
        full._check_symmetry()
        return full

    def _check_symmetry(self) -> None:
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
        """X times a matrix, the form in which `pod` takes an inner product."""
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


class _Matrices(FullOrder):
    def __init__(self, system, reference):
        super().__init__(system, reference)
        self.matrices = [sp.csc_array(a) for a in system.operators]
        self._factors = splu(self._sum(reference))

    def products(self, vector):
        return np.stack([a @ vector for a in self.matrices])

    def riesz(self, functionals):
        return self._factors.solve(functionals.T).T

    def solve(self, theta, phi):
        matrix, b = self._sum(theta), phi @ self.rhs
        factors = splu(matrix)
        u = factors.solve(b)
        return u + factors.solve(b - matrix @ u)  # one refinement: the factorisation is stable only normwise

    def _sum(self, theta):
        return sp.csc_array(sum(t * a for t, a in zip(theta, self.matrices, strict=True)))


class _Operators(FullOrder):
    def __init__(self, system, reference, inverse):
        super().__init__(system, reference)
        self._preconditioner, self._inverse = (
            _inverses(system.operators, reference) if inverse is None else (inverse, inverse)
        )

    def products(self, vector):
        return np.reshape(_products(self.system.operators, vector.reshape(self.shape)), (-1, self.size))

    def riesz(self, functionals):
        representers = np.reshape(_apply(self._inverse, functionals.reshape(-1, *self.shape)), functionals.shape)
        for z, w in zip(representers, functionals, strict=True):
            missed, size = np.linalg.norm(self.product(z) - w), np.linalg.norm(w)
            if not missed <= _ACCEPTED * size:
                raise RuntimeError(f"X⁻¹ misses by ‖X z − w‖ = {missed:.2g}, ‖w‖ = {size:.2g}: the bound would be none. "
                                   "Check `inverse` or leave it out")  # fmt: skip
        return representers

    def solve(self, theta, phi):
        b = (phi @ self.rhs).reshape(self.shape)
        u, status, missed = _solve(self.system.operators, theta, b, self._preconditioner)
        if status not in (Status.converged, Status.stagnated) or not missed <= _ACCEPTED:
            raise RuntimeError(f"full solve at coefficients {theta}: {status_message(status)}")
        return u.ravel()


class _ConjugateGradients(eqx.Module):
    """X⁻¹ by iteration, to the floor of the precision."""

    operator: Any
    preconditioner: Callable | None

    def __call__(self, r):
        return solve(
            self.operator, r, CG(preconditioner=self.preconditioner, rtol=_RTOL, norm="natural", max_steps=10_000)
        ).value


def _inverses(operators, reference) -> tuple[Callable | None, Callable]:
    """A preconditioner of every A(θ), and X⁻¹."""
    x = in_double(_combination)(operators, reference)
    if not isinstance(x, Diffusion):
        return None, _ConjugateGradients(x, None)
    fast = FastPoisson(x.spacing, x.boundaries)
    if all((np.asarray(face) == 1).all() for face in x.faces) and np.ndim(x.shift) == 0:
        return fast, FastPoisson(x.spacing, x.boundaries, shift=float(x.shift))
    return fast, _ConjugateGradients(x, fast)


def _combination(operators, theta):
    if all(isinstance(a, Diffusion) for a in operators):  # whose arrays all enter linearly: one stencil in place of Q
        return jax.tree.map(lambda *parts: sum(t * part for t, part in zip(theta, parts, strict=True)), *operators)
    return reduce(add, [t * a for t, a in zip(theta, operators, strict=True)])


@in_double
@eqx.filter_jit
def _products(operators, vector):
    return jnp.stack([a.mv(vector) for a in operators])


@in_double
@eqx.filter_jit
def _apply(inverse, vectors):
    return jax.lax.map(inverse, vectors)


@in_double
@eqx.filter_jit
def _solve(operators, theta, b, preconditioner):
    method = CG(preconditioner=preconditioner, rtol=_RTOL, norm="natural", max_steps=10_000)
    solution = solve(_combination(operators, theta), b, method)
    return solution.value, solution.status, solution.stats.residual / jnp.maximum(method.measure(b), 1e-300)
