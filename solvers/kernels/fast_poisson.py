"""Direct solve of the constant-coefficient equation (−Δ_h + shift) x = b by fast real transforms."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, ScalarLike

from .fourier import Method
from .stencil import Boundary
from .trigonometric import dct2, dct3, dht, dst1, laplacian_eigenvalues

# The orthogonal eigenbasis of the 1D operator for each boundary: into it, and back.
FORWARD = {"dirichlet": dst1, "neumann": dct2, "periodic": dht}
BACKWARD = {"dirichlet": dst1, "neumann": dct3, "periodic": dht}


def solve_constant(
    b: Float[Array, "*n"],
    spacing: Sequence[float],
    boundaries: Sequence[Boundary],
    shift: ScalarLike = 0.0,
    *,
    method: Method = "auto",
    precision: lax.PrecisionLike = "highest",
) -> Float[Array, "*n"]:
    """x = Q (Λ + shift)⁻¹ Qᵀ b, the inverse of `stencil.apply_laplacian` plus `shift`.

    Q is orthogonal, so the map is symmetric to rounding: usable as a preconditioner for conjugate gradients. Without a
    Dirichlet axis and with shift 0 constants are in the null space: the mean of `b` is dropped and x has zero mean.
    Differentiable in `b` and `shift`. The relative error grows like the condition number times the rounding unit,
    about (n/2)² per float32 eps for n points between Dirichlet boundaries.

    **Arguments:**

    - `b`: right-hand side on the unknowns of `stencil` (interior nodes, cell centres or periodic points).
    - `spacing`, `boundaries`: grid spacing and boundary per axis.
    - `shift`: added to the operator; at a value equal to minus an eigenvalue that mode of x is undefined.
    - `method`, `precision`: of the transforms, see `trigonometric`.

    Raises `ValueError` for an unknown boundary or lengths that do not match.
    """
    modes, eigenvalues = b, jnp.asarray(shift, b.dtype)
    for axis, (h, boundary) in enumerate(zip(spacing, boundaries, strict=True)):
        along = laplacian_eigenvalues(b.shape[axis], h, boundary).astype(b.dtype)
        eigenvalues = eigenvalues + along.reshape([-1 if a == axis else 1 for a in range(b.ndim)])
        modes = FORWARD[boundary](modes, axis, norm="ortho", method=method, precision=precision)
    singular = eigenvalues == 0  # exact: the constant mode's eigenvalues are 0 on every axis
    modes = jnp.where(singular, 0, modes / jnp.where(singular, 1, eigenvalues))
    for axis, boundary in enumerate(boundaries):
        modes = BACKWARD[boundary](modes, axis, norm="ortho", method=method, precision=precision)
    return modes
