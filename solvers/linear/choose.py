"""The method that suits an operator."""

import lineax as lx

from .cg import CG
from .fgmres import FGMRES
from .laplacian import FastPoissonSolve, Laplacian, Spectral
from .method import AbstractMethod
from .minres import MINRES
from .multigrid import Multigrid
from .operators import Diffusion
from .preconditioners import Jacobi
from .sparse import Sparse


def choose(operator: lx.AbstractLinearOperator, **options) -> AbstractMethod:
    """The method that `solve` takes by default, from the structure of the operator alone (never from values, so that the
    choice is the same under `jit`):

    - `Laplacian` and `Spectral`, also in obstacle-free boxes with a shift: the direct solve by fast transforms;
    - `Diffusion`: conjugate gradients with multigrid, for jumping coefficients and obstacles too;
    - `Sparse`, symmetric: conjugate gradients with Jacobi; other symmetric operators: conjugate gradients if they are tagged
      positive semidefinite, `MINRES` otherwise;
    - anything else: `FGMRES`, with Jacobi for `Sparse`.

    **Arguments:** `options`: passed to the method, for example `rtol`.
    """
    while isinstance(operator, lx.TaggedLinearOperator) and isinstance(
        operator.operator, Diffusion | Laplacian | Spectral
    ):
        operator = operator.operator
    if isinstance(operator, Laplacian | Spectral):
        return FastPoissonSolve(**options)
    if isinstance(operator, Diffusion):
        return CG(preconditioner=Multigrid(), **options)
    if isinstance(operator, Sparse):
        return (
            CG(preconditioner=Jacobi(), **options)
            if lx.is_symmetric(operator)
            else FGMRES(preconditioner=Jacobi(), **options)
        )
    if lx.is_symmetric(operator):
        return CG(**options) if lx.is_positive_semidefinite(operator) else MINRES(**options)
    return FGMRES(**options)
