"""The finest level of a learned direction, from an operator."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...solvers.kernels.component_levels import ComponentLevel
from ...solvers.kernels.stencil import pad_axis
from ...solvers.linear.operators.laplacian import as_diffusion


def level_of(operator) -> tuple[ComponentLevel, Float[Array, "*n"]]:
    """The graph of a `Diffusion`, or of an operator that can be written as one, with a slot per point; and 1/a_ii at points
    without an open face, where A is diagonal, 0 elsewhere.

    **Raises:** `TypeError` for other operators.
    """
    operator = as_diffusion(operator, "MultilevelDirection")
    couplings, shift = [], jnp.zeros(operator.shape, operator.faces[0].dtype) + operator.shift
    for axis, (a, h, boundary) in enumerate(zip(operator.faces, operator.spacing, operator.boundaries, strict=True)):
        n, a = operator.shape[axis], a / h**2
        if boundary == "dirichlet":
            first, last = pad_axis(a, axis, 0, -n), pad_axis(a, axis, -n, 0)
            shift += pad_axis(first, axis, 0, n - 1) + pad_axis(last, axis, n - 1, 0)
            a = pad_axis(pad_axis(a, axis, -1, -1), axis, 0, 1)
        elif boundary == "neumann":
            a = pad_axis(a, axis, 0, 1)
        elif n == 1:
            a = jnp.zeros_like(a)
        couplings.append(a[..., None, None])
    periodic = tuple(boundary == "periodic" for boundary in operator.boundaries)
    shift = shift[..., None]
    level = ComponentLevel(tuple(couplings), shift, jnp.ones_like(shift), periodic)
    alone = (level.count() == 0) & (shift != 0)
    return level, jnp.where(alone, 1 / jnp.where(alone, shift, 1), 0)[..., 0]
