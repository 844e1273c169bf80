"""The solver that all elliptic problems share."""

import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..linear.krylov.cg import CG
from ..linear.method import AbstractMethod
from ..linear.preconditioners.fast_poisson import FastPoisson
from ..linear.preconditioners.jacobi import Jacobi
from ..linear.preconditioning import Preconditioner
from ..linear.with_fallback import WithFallback

# Where the coefficient suits fast transforms they need fewer steps than this, and so little time.
_STEPS = 100


def natural_cg(preconditioner: Preconditioner, b: Array, rtol: ScalarLike | None) -> CG:
    """Conjugate gradients to `rtol` in the natural norm, by default 1e-8 in float64 and 1e-4 in float32, so that the error
    in the energy norm is about rtol."""
    default = 1e-8 if b.dtype == jnp.float64 else 1e-4
    return CG(preconditioner=preconditioner, rtol=default if rtol is None else rtol, norm="natural")


def robust_cg(preconditioner: FastPoisson, b: Array, rtol: ScalarLike | None) -> AbstractMethod:
    """`natural_cg`, and the diagonal for coefficients of which it does not solve the system in 100 steps (jumps by large
    factors, noise): then some thousand steps that no contrast slows down. `Multigrid` needs fewer, but ten times as long to
    compile, which every program with such a solve would pay."""
    first = natural_cg(preconditioner, b, rtol)
    rtol = first.rtol
    first = CG(preconditioner=preconditioner, rtol=rtol, norm="natural", max_steps=_STEPS)
    # Its natural norm tells less of the error in the energy norm than that of a fast transform.
    return WithFallback(first, CG(preconditioner=Jacobi(), rtol=rtol / 10, norm="natural", max_steps=10_000))
