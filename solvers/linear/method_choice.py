"""The method that suits an operator."""

import lineax as lx

from .direct.fast_poisson_solve import FastPoissonSolve
from .krylov.cg import CG
from .krylov.fgmres import FGMRES
from .krylov.minres import MINRES
from .method import AbstractMethod
from .operators.diffusion import Diffusion
from .operators.field_operator import untagged
from .operators.laplacian import Laplacian
from .operators.sparse import Sparse
from .operators.spectral import Spectral
from .preconditioners.jacobi import Jacobi
from .preconditioners.multigrid import Multigrid
from .preconditioners.smoothed_aggregation import SmoothedAggregation


def choose(operator: lx.AbstractLinearOperator, **options) -> AbstractMethod:
    """The method that `solve` takes by default, from the structure of the operator alone, so that the choice is the same under
    `jit`, with one exception:

    - `Laplacian` and `Spectral`, also in obstacle-free boxes with a shift: the direct solve by fast transforms;
    - `Diffusion`: conjugate gradients with multigrid, for jumping coefficients and obstacles too; with Jacobi and up to 10 000
      steps where rings of odd size cannot be coarsened;
    - `Sparse`, symmetric: conjugate gradients with Jacobi, or with smoothed aggregation if it has 50 000 unknowns or more, values
      that are known (which they are not inside of `jit` unless the operator is closed over) and entries like a Laplacian;
      `MINRES` if its diagonal had zeros or negative numbers when it was
      imported, as that of a saddle point; other symmetric operators: conjugate gradients if they are tagged positive
      semidefinite, `MINRES` otherwise;
    - anything else: `FGMRES`, with Jacobi for `Sparse`.

    **Arguments:** `options`: passed to the method, for example `rtol`.

    **Example:**

        >>> type(sx.linear.choose(A)).__name__
        'FastPoissonSolve'
    """
    on_grid = untagged(operator)
    if isinstance(on_grid, Laplacian | Spectral):
        return FastPoissonSolve(**options)
    if isinstance(on_grid, Diffusion):
        if Multigrid.suits(on_grid):
            return CG(preconditioner=Multigrid(), **options)
        options.setdefault("max_steps", 10_000)
        return CG(preconditioner=Jacobi(), **options)
    if isinstance(operator, Sparse):
        if not operator.symmetric:
            return FGMRES(preconditioner=Jacobi(), **options)
        if not operator.positive_diagonal:
            return MINRES(**options)
        suits = SmoothedAggregation.suits(operator)
        return CG(preconditioner=SmoothedAggregation() if suits else Jacobi(), **options)
    if lx.is_symmetric(operator):
        return CG(**options) if lx.is_positive_semidefinite(operator) else MINRES(**options)
    return FGMRES(**options)
