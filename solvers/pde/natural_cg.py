"""The solver that all elliptic problems share."""

import jax.numpy as jnp
from jaxtyping import Array, ScalarLike

from ..linear.krylov.cg import CG
from ..linear.preconditioners.fast_poisson import FastPoisson


def natural_cg(preconditioner: FastPoisson, b: Array, rtol: ScalarLike | None) -> CG:
    """Conjugate gradients to `rtol` in the natural norm, by default 1e-8 in float64 and 1e-4 in float32, so that the error
    in the energy norm is about rtol."""
    default = 1e-8 if b.dtype == jnp.float64 else 1e-4
    return CG(preconditioner=preconditioner, rtol=default if rtol is None else rtol, norm="natural")
