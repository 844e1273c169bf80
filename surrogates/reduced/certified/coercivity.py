"""Lower bounds of the coercivity constant α(μ) = min_v ⟨v, A(μ) v⟩ / ‖v‖²_X of an affine system."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from ....core.arguments import checked
from ....core.storage import register
from .abstract_full_order import AbstractFullOrder

_DENSE = 800  # unknowns up to which eigenvalues are those of dense matrices


@register("MinTheta")
class MinTheta(eqx.Module):
    """α(μ) ≥ min_q θ_q(μ)/θ̄_q for X = Σ_q θ̄_q A_q with positive semidefinite A_q; the continuity constant is at most
    max_q θ_q(μ)/θ̄_q for the same reason. Zero, no bound, where a coefficient is not positive.

    **Raises:** `ValueError` unless every θ̄_q is positive.

    **Example:**

        >>> bound = sx.reduced.MinTheta(np.array([1.0, 1.0]))
        >>> float(bound(jnp.array([0.5, 3.0])))
        0.5
    """

    reference: Float[Array | np.ndarray, " q"]

    def __check_init__(self):
        if isinstance(self.reference, np.ndarray) and not (self.reference > 0).all():
            raise ValueError(f"MinTheta needs positive reference coefficients, got {self.reference}; "
                             "use successive_constraints")  # fmt: skip

    def __call__(self, theta: Float[Array | np.ndarray, "*batch q"]):
        return (theta / self.reference).min(-1).clip(0)


@dataclass(frozen=True, eq=False)
class SuccessiveConstraints:
    """What `successive_constraints` returns. Every call solves one linear program per coefficient vector on the host, for
    the offline stage and single queries. It cannot be traced; take `MinTheta` where that is needed.

    **Fields:** `box` `(2, Q)` the range of ⟨v, A_q v⟩/‖v‖²_X, `thetas` `(K, Q)` where α is known, `alphas` `(K,)`, `rays`
    `(K, Q)` the values ⟨v, A_q v⟩/‖v‖²_X of its minimisers, `gap`, the largest (upper − lower)/upper bound over the training set.
    """

    box: Float[np.ndarray, "2 q"]
    thetas: Float[np.ndarray, "k q"]
    alphas: Float[np.ndarray, " k"]
    rays: Float[np.ndarray, "k q"]
    gap: float

    def __call__(self, theta):
        if isinstance(theta, Tracer):
            raise TypeError("SuccessiveConstraints solves a linear program on the host and cannot be traced; "
                            "call it outside jit, vmap and grad, or take MinTheta")  # fmt: skip
        theta = np.asarray(theta, np.float64)
        flat = [self._lower(t) for t in theta.reshape(-1, theta.shape[-1])]
        return np.maximum(np.reshape(flat, theta.shape[:-1]), 0.0)

    def upper(self, theta: Float[np.ndarray, "*batch q"]) -> Float[np.ndarray, "*batch"]:
        """min_k Σ_q θ_q y_q over the known minimisers."""
        return (theta @ self.rays.T).min(-1)

    def _lower(self, theta) -> float:
        from scipy.optimize import linprog

        result = linprog(theta, A_ub=-self.thetas, b_ub=-self.alphas, bounds=self.box.T, method="highs")
        # Rounding can make the constraints of nearly equal parameters contradict each other; then there is no bound.
        return result.fun if result.status == 0 else 0.0


@checked
def successive_constraints(
    full: AbstractFullOrder, thetas: Float[np.ndarray, "n q"], *, tolerance: float = 0.25, max_constraints: int = 50
) -> SuccessiveConstraints:
    """Lower bounds of α from a few eigenvalue problems (Huynh, Rozza, Sen and Patera 2007).

    α(μ) is the minimum of Σ_q θ_q(μ) y_q over the set of y_q = ⟨v, A_q v⟩/‖v‖²_X. That set is inside a box and inside the half
    spaces Σ_q θ_q(μ_k) y_q ≥ α(μ_k) of parameters where α has been computed; the minimum over box and half spaces is a
    linear program. Parameters are chosen where upper and lower bound are furthest apart. Works for coefficients of any
    sign. All constraints are used at once, without the neighbourhoods of the paper.

    Eigenvalues are those of dense matrices up to 800 unknowns, beyond by Lanczos' method to a relative 1e-6, of which the
    bounds are made smaller by 1e-5.

    **Arguments:** `thetas` at training parameters, a few hundred (one linear program of about 2 ms each per constraint);
    `tolerance`, the gap (upper − lower)/upper to reach; with 0.25 the error bound loses at most a factor of 4/3.

    **Warns** when `max_constraints` do not reach the tolerance. **Raises** `ValueError` where A(μ) is not positive definite.
    """
    parts = len(full.reference)
    unit = np.eye(parts)
    box = np.array([[_smallest(full, e)[0], -_smallest(full, -e)[0]] for e in unit]).T
    chosen: list[int] = []
    alphas, rays = np.zeros(0), np.zeros((0, parts))
    worst, gap = 0, np.inf
    while gap > tolerance and len(chosen) < min(max_constraints, len(thetas)):
        chosen.append(worst)
        alpha, vector = _smallest(full, thetas[worst])
        if not alpha > 0:
            raise ValueError(f"successive_constraints: A(μ) with coefficients {thetas[worst]} is not positive definite, its "
                             f"smallest eigenvalue is {alpha:.3g}")  # fmt: skip
        alphas = np.append(alphas, alpha)
        rays = np.vstack([rays, full.products(vector) @ vector])
        found = SuccessiveConstraints(box, thetas[chosen], alphas, rays, gap)
        upper = found.upper(thetas)
        gaps = 1 - found(thetas) / upper
        gaps[chosen] = 0
        worst, gap = int(gaps.argmax()), float(gaps.max())
    if gap > tolerance:
        warnings.warn(f"successive_constraints: gap {gap:.2g} after {len(chosen)} constraints", stacklevel=2)
    return SuccessiveConstraints(box, thetas[chosen], alphas, rays, gap)


def _smallest(full: AbstractFullOrder, theta) -> tuple[float, Float[np.ndarray, " m"]]:
    """Smallest λ of A(θ) v = λ X v, a little lowered, and v with ‖v‖_X = 1."""
    m = full.size
    if m <= _DENSE:
        x, a = (np.stack([full.combination(t, e) for e in np.eye(m)]) for t in (full.reference, theta))
        values, vectors = eigh((a + a.T) / 2, (x + x.T) / 2, subset_by_index=[0, 0])
        margin = 1e-10
    else:
        a = _operator(m, lambda v: full.combination(theta, v.ravel()))
        x = _operator(m, lambda v: full.product(v.ravel()))
        inverse = _operator(m, lambda v: full.riesz(v.reshape(1, -1))[0])
        start = np.random.default_rng(0).normal(size=m)
        values, vectors = eigsh(a, 1, x, Minv=inverse, which="SA", tol=1e-6, v0=start)  # pyright: ignore[reportArgumentType]
        margin = 1e-5
    vector = vectors[:, 0]
    return float(values[0] - margin * abs(values[0])), vector / full.norm(vector)


def _operator(m: int, product: Callable) -> LinearOperator:
    return LinearOperator((m, m), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
