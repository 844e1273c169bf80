"""The full system whose parts are lineax operators: products, and solves by preconditioned conjugate gradients in JAX."""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ....core.precision import in_double
from ....solvers.linear.krylov.cg import CG
from ....solvers.linear.linear_solve import solve, status_message
from ....solvers.linear.operators.diffusion import Diffusion
from ....solvers.linear.preconditioners.fast_poisson import FastPoisson
from ....solvers.linear.solution import Status
from .abstract_full_order import AbstractFullOrder

_RTOL = 1e-14  # of solves, in the natural norm; they end there or at the floor of float64
_ACCEPTED = 1e-9  # a solve that ends above this is an error, and so is a representer


class FullOrderOfOperators(AbstractFullOrder):
    """Products and solves with lineax operators A_q: conjugate gradients for A(θ), `inverse` or conjugate gradients for X."""

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
