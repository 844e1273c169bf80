"""Reduced nonlinear problems, assembled from elements: all of them, or few (empirical cubature, interpolation)."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ....core.arguments import checked
from ....solvers.linear.solution import Stats, Status
from ..interpolation.cubature import Cubature
from ..interpolation.eim import EIM, AnyArray, current

ElementResidual = Callable[[Array, PyTree, PyTree], Array]


class NonlinearGalerkin(eqx.Module):
    """The reduced equation Σ_e w_e W_eᵀ r_e(V_e c; μ) = 0 for u ≈ V c, where r_e is the residual of one element.

    V_e and W_e are the rows of the trial and test basis that belong to the degrees of freedom of element e. Only the
    kept elements of the full problem are stored, so that the cost of a solution does not depend on the size of the mesh.
    `nonlinear_galerkin`, `with_cubature` and `with_interpolation` build it.

    **Fields:** `residual`, `(u_e (local,), data_e, μ) -> (local,)`; `trial`, `test` `(elements, local, r)`; `data`, a tree
    with leading axis elements (sizes, coordinates, sources); `weights` `(elements,)`; `elements`, their indices.

    **Example:**

        >>> element = lambda u, data, mu: u + u**3 - mu
        >>> model = sx.reduced.nonlinear_galerkin(element, np.arange(4)[:, None], np.zeros(4), np.full((4, 1), 0.5))
        >>> model.weights.shape, float(model(jnp.array([2.0]), 2.0)[0])
        ((4,), 0.0)
    """

    residual: ElementResidual
    trial: Float[AnyArray, "elements local r"]
    test: Float[AnyArray, "elements local r"]
    data: PyTree
    weights: Float[AnyArray, " elements"]
    elements: Int[AnyArray, " elements"]

    def __call__(self, c: Float[AnyArray, " r"], mu: PyTree) -> Float[Array, " r"]:
        """The reduced residual."""
        return jnp.matmul(self.integrands(c, mu), current(self.weights), precision="highest")

    def integrands(self, c: Float[AnyArray, " r"], mu: PyTree) -> Float[Array, "r elements"]:
        """What each element adds to the reduced residual, without its weight: rows for `empirical_cubature`."""
        u = jnp.matmul(current(self.trial), jnp.asarray(c), precision="highest")
        local = jax.vmap(self.residual, (0, 0, None))(u, jax.tree.map(current, self.data), mu)
        return jnp.einsum("elr,el->re", current(self.test), local, precision="highest")

    def solve(
        self, mu: PyTree, start: Float[AnyArray, " r"] | None = None, *, rtol: float = 1e-5, max_steps: int = 30
    ) -> tuple[Float[Array, " r"], Stats]:
        """c by Newton's method from `start` (zero by default), to a residual of `rtol` times the larger of those at
        c = 0 and at `start`.

        Full steps, no globalisation: where they fail, continue from the solution of a parameter nearby. Differentiable in
        μ by the implicit function theorem, under jit and vmap; `start` gets no derivative. `rtol` 1e-5 is for float32,
        1e-10 for float64. Returns c and `Stats`: converged, max_steps, or non_finite (c is then the last finite one).
        Derivatives are NaN unless it converged: the theorem holds at roots only.
        """
        zero = jnp.zeros(self.trial.shape[-1])
        start = zero if start is None else jnp.asarray(start)
        frozen, at = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, (self, mu))
        start = jax.lax.stop_gradient(start)
        sizes = [jnp.linalg.norm(frozen(c, at)) for c in (zero, start)]
        found, stats = _newton(lambda c: frozen(c, at), start, rtol * jnp.maximum(*sizes), max_steps)
        valid = jnp.where(stats.status == int(Status.converged), 1.0, jnp.nan)

        def tangent(linear, y):
            return valid * jnp.linalg.solve(jax.jacobian(linear)(jnp.zeros_like(y)), y)

        # The root is found already, so that the status, an integer, stays out of what is differentiated.
        return jax.lax.custom_root(lambda c: self(c, mu), found, lambda _, c: c, tangent), stats


@checked
def nonlinear_galerkin(
    residual: ElementResidual,
    dofs: Int[np.ndarray, "elements local"],
    data: PyTree,
    basis: Float[AnyArray, "dofs r"],
    test: Float[AnyArray, "dofs r"] | None = None,
) -> NonlinearGalerkin:
    """Galerkin projection with all elements; `dofs` maps local to global degrees of freedom, −1 where a value is
    prescribed as zero. `test` is the test basis, `basis` by default.

    **Example:**

        >>> element = lambda u, data, mu: u + u**3 - mu                                   # of one degree of freedom each
        >>> model = sx.reduced.nonlinear_galerkin(element, np.arange(4)[:, None], np.zeros(4), np.full((4, 1), 0.5))
        >>> c, stats = model.solve(2.0)                                                  # u = 1 everywhere
        >>> round(float(c[0]), 3)
        2.0
    """
    trial = _rows(basis, dofs)
    test = trial if test is None else _rows(test, dofs)
    return NonlinearGalerkin(residual, trial, test, data, np.ones(len(dofs)), np.arange(len(dofs)))


@checked
def with_cubature(full: NonlinearGalerkin, cubature: Cubature) -> NonlinearGalerkin:
    """The sum over all elements replaced by the weighted sum of a few (ECSW); `cubature` is that of the `integrands`.

    **Example:**

        >>> element = lambda u, data, mu: u + u**3 - mu                                   # of one degree of freedom each
        >>> full = sx.reduced.nonlinear_galerkin(element, np.arange(4)[:, None], np.zeros(4), np.full((4, 1), 0.5))
        >>> few = sx.reduced.with_cubature(full, sx.reduced.empirical_cubature(np.ones((1, 4)), rtol=1e-6))
        >>> len(few.weights), round(float(few.solve(2.0)[0][0]), 3)                           # of four equal elements
        (1, 2.0)
    """
    return _restricted(full, cubature.elements, cubature.weights)


@checked
def with_interpolation(
    residual: ElementResidual,
    dofs: Int[np.ndarray, "elements local"],
    data: PyTree,
    basis: Float[AnyArray, "dofs r"],
    interpolation: EIM,
) -> NonlinearGalerkin:
    """The assembled residual R interpolated by its own modes U: Vᵀ R ≈ Vᵀ U (Pᵀ U)⁻¹ Pᵀ R (DEIM).

    It is the equation with the test basis P (Pᵀ U)⁻ᵀ Uᵀ V, which vanishes off the points, so that the elements around
    the points are kept. `interpolation` is the `deim` or `q_deim` of modes of R along Newton iterations, or of modes of its
    nonlinear part and the data (R itself vanishes at solutions). The result is not symmetric, even if R is a gradient.

    **Example:**

        >>> element, basis = lambda u, data, mu: u + u**3 - mu, np.full((4, 1), 0.5)
        >>> few = sx.reduced.with_interpolation(element, np.arange(4)[:, None], np.zeros(4), basis, sx.reduced.deim(basis))
        >>> len(few.weights), round(float(few.solve(2.0)[0][0]), 3)                           # of four equal elements
        (1, 2.0)
    """
    nodal = np.linalg.solve(np.asarray(interpolation.lower).T, np.asarray(interpolation.basis).T @ np.asarray(basis))
    test = np.zeros_like(np.asarray(basis, np.float64))
    test[interpolation.points] = nodal
    touched = np.isin(dofs, interpolation.points).any(axis=1)
    full = nonlinear_galerkin(residual, dofs, data, basis, test)
    return _restricted(full, np.flatnonzero(touched), np.ones(touched.sum()))


def _rows(basis, dofs):
    """Rows of the basis for every element, with zeros for the prescribed degree of freedom −1."""
    basis = np.asarray(basis, np.float64)
    return np.vstack([basis, np.zeros((1, basis.shape[1]))])[dofs]


def _restricted(full: NonlinearGalerkin, elements, weights) -> NonlinearGalerkin:
    trial, test, data = jax.tree.map(lambda x: np.asarray(x)[elements], (full.trial, full.test, full.data))
    return NonlinearGalerkin(full.residual, trial, test, data, np.asarray(weights), np.asarray(elements))


def _newton(f, c, tolerance, max_steps: int):
    """Full Newton steps until |f| ≤ tolerance, and how it ended."""

    def unfinished(state):
        _, value, k, finite = state
        return (jnp.linalg.norm(value) > tolerance) & (k < max_steps) & finite

    def step(state):
        c, value, k, _ = state
        new = c - jnp.linalg.solve(jax.jacfwd(f)(c), value)
        new_value = f(new)
        finite = jnp.isfinite(new_value).all() & jnp.isfinite(new).all()
        return jnp.where(finite, new, c), jnp.where(finite, new_value, value), k + 1, finite

    value = f(c)
    c, value, k, finite = jax.lax.while_loop(unfinished, step, (c, value, jnp.asarray(0), jnp.isfinite(value).all()))
    size = jnp.linalg.norm(value)
    status = jnp.where(size <= tolerance, int(Status.converged), int(Status.max_steps))
    return c, Stats(jnp.where(finite, status, int(Status.non_finite)).astype(jnp.int32), k, size)
