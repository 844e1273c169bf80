"""The full system of a reduced basis, in the form that its operators ask for."""

from collections.abc import Callable, Sequence

import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from ....solvers.pde.affine import AffineSystem
from .abstract_full_order import AbstractFullOrder
from .full_order_of_matrices import FullOrderOfMatrices
from .full_order_of_operators import FullOrderOfOperators


def full_order(
    system: AffineSystem,
    reference: Sequence[float] | Float[Array | np.ndarray, " q"] | None = None,
    inverse: Callable | None = None,
) -> AbstractFullOrder:
    """Products and solves with the parts of `system`: for matrices by sparse factorisation, for lineax operators by their
    products and conjugate gradients.

    **Arguments:**

    - `reference`: θ̄ `(Q,)` of the product X = Σ_q θ̄_q A_q, ones by default; X must be positive definite.
    - `inverse`: for operators, X⁻¹ on one array of unknowns, traced by JAX; every result is checked. By default the fast
      Poisson solve where X is the Laplacian, else conjugate gradients.

    **Raises:** `ValueError` for a reference of another length, for an `inverse` where the parts are matrices, which are
    factorised, and where random vectors show that an A_q is not symmetric or X not positive definite.
    """
    parts = len(system.operators)
    reference = np.ones(parts) if reference is None else np.asarray(reference, np.float64)
    if reference.shape != (parts,):
        raise ValueError(f"reference has shape {reference.shape}; expected one value for each operator, ({parts},)")
    if isinstance(system.operators[0], lx.AbstractLinearOperator):
        full = FullOrderOfOperators(system, reference, inverse)
    elif inverse is None:
        full = FullOrderOfMatrices(system, reference)
    else:
        raise ValueError("inverse: X is factorised where the parts are matrices; leave it out")
    full.check_symmetry()
    return full
