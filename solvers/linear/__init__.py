"""Linear systems A x = b on grids and with sparse matrices: differentiable, batched, on any device.

    solution = sx.linear.solve(operator, b)              # the method is chosen by the structure of the operator
    solution = sx.linear.solve(operator, b, CG(Multigrid(), rtol=1e-6))
    solution.value, solution.status, solution.iterations, solution.method

`solve` has derivatives of any order by the implicit function theorem and works under `jit`, `vmap` and `grad`. It returns a
`Solution`: the `value` x, and `Stats` with the `Status` (converged, max_steps, stagnated, breakdown, non_finite; in words by
`status_message`), the number of iterations, the norm of the true residual, that of b and, if asked for, the history. Where the
tolerance is out of reach `value` is the best x on the way. Singular symmetric systems take `nullspace=`.

**Operators** hold one system; batch them by `vmap`. Every real operator of lineax works too.

- `Laplacian`: −scale · Δ + shift with constant coefficients. `Spectral`: any function of −Δ, given by its eigenvalues.
- `Diffusion`: −∇·(a∇u) + shift with a coefficient field and obstacles.
- `Sparse`: a matrix of SciPy or `jax.experimental.sparse`. `tensor_diffusion` makes one: −∇·(K∇u) with a full tensor K on a grid.
- `AbstractFieldOperator`: the base class for an operator of your own.

**Methods.** `choose(operator)` returns the method that `solve` uses by default.

- For `Laplacian` and `Spectral`: `FastPoissonSolve`, direct by fast transforms.
- Symmetric positive definite: `CG`; `FlexibleCG` if the preconditioner changes or is not linear; `DeepCG` with learned
  directions.
- Symmetric indefinite: `MINRES`. Not symmetric: `FGMRES` (robust, keeps its basis), `BiCGStab` (short recurrences).
- `SparseLU`: direct, for `Sparse`, on the host.
- Stationary iterations: `Richardson`, `JacobiIteration`, `GaussSeidel`, `SOR` (`jacobi_radius`, `optimal_omega`, `sor_radius`),
  `Chebyshev`.
- `Refinement`: float64 accuracy from corrections in float32.
- `AsLineax`: any of these as a solver of `lineax.linear_solve`.

**Preconditioners**, as `CG(Multigrid())`:

- For `Diffusion` and `Laplacian`: `Multigrid` (the best first choice), `FastPoisson` (smooth coefficients), `SSOR`.
- For `Sparse` without a grid: `SmoothedAggregation` (the best first choice for diffusion and elasticity), `SSOR`.
- From the entries of the matrix, `Sparse` included: `IncompleteCholesky`, `PolynomialInverse`; `TriangularFactor` and
  `SparseInverse` take factors of your own.
- From the diagonal or products alone: `Jacobi`, `ChebyshevPolynomial`, `SymmetricPolynomial`.
- Your own: any function or module r ↦ M⁻¹ r, or an `AbstractPreconditioner` if it is set up from the operator.

**Tuning** over a sequence of systems (Learning to Relax, Khodak et al. 2024):

- `TunedSolver` chooses a parameter, such as the relaxation of `SOR`, anew for every `System` and learns from the number of
  iterations. It returns a `TunedSolution`. The choice is made by a policy: `TsallisINF`, `ChebCB`, or your own `AbstractPolicy`.
- `best_fixed` finds the `FixedCosts` of every fixed value, and `plot_regret` draws the comparison.
- `near_asymptotic_bound` gives the `RelaxationBound`, a bound on the iterations of `SOR`.
"""

from .as_lineax import AsLineax as AsLineax
from .direct.fast_poisson_solve import FastPoissonSolve as FastPoissonSolve
from .direct.refinement import Refinement as Refinement
from .direct.sparse_lu import SparseLU as SparseLU
from .krylov.bicgstab import BiCGStab as BiCGStab
from .krylov.cg import CG as CG
from .krylov.deep_cg import DeepCG as DeepCG
from .krylov.fgmres import FGMRES as FGMRES
from .krylov.flexible_cg import FlexibleCG as FlexibleCG
from .krylov.minres import MINRES as MINRES
from .linear_solve import solve as solve
from .linear_solve import status_message as status_message
from .method_choice import choose as choose
from .operators.diffusion import Diffusion as Diffusion
from .operators.field_operator import AbstractFieldOperator as AbstractFieldOperator
from .operators.laplacian import Laplacian as Laplacian
from .operators.sparse import Sparse as Sparse
from .operators.spectral import Spectral as Spectral
from .operators.tensor_diffusion import tensor_diffusion as tensor_diffusion
from .preconditioners.chebyshev_polynomial import ChebyshevPolynomial as ChebyshevPolynomial
from .preconditioners.fast_poisson import FastPoisson as FastPoisson
from .preconditioners.incomplete_cholesky import IncompleteCholesky as IncompleteCholesky
from .preconditioners.jacobi import Jacobi as Jacobi
from .preconditioners.multigrid import Multigrid as Multigrid
from .preconditioners.smoothed_aggregation import SmoothedAggregation as SmoothedAggregation
from .preconditioners.sparse_inverse import PolynomialInverse as PolynomialInverse
from .preconditioners.sparse_inverse import SparseInverse as SparseInverse
from .preconditioners.ssor import SSOR as SSOR
from .preconditioners.symmetric_polynomial import SymmetricPolynomial as SymmetricPolynomial
from .preconditioners.triangular_factor import TriangularFactor as TriangularFactor
from .preconditioning import AbstractPreconditioner as AbstractPreconditioner
from .solution import Solution as Solution
from .solution import Stats as Stats
from .solution import Status as Status
from .stationary.chebyshev import Chebyshev as Chebyshev
from .stationary.gauss_seidel import GaussSeidel as GaussSeidel
from .stationary.jacobi_iteration import JacobiIteration as JacobiIteration
from .stationary.richardson import Richardson as Richardson
from .stationary.sor import SOR as SOR
from .stationary.sor_spectral_radius import jacobi_radius as jacobi_radius
from .stationary.sor_spectral_radius import optimal_omega as optimal_omega
from .stationary.sor_spectral_radius import sor_radius as sor_radius
from .tuning.bandits import AbstractPolicy as AbstractPolicy
from .tuning.chebcb import ChebCB as ChebCB
from .tuning.regret import FixedCosts as FixedCosts
from .tuning.regret import best_fixed as best_fixed
from .tuning.regret import plot_regret as plot_regret
from .tuning.sor_iteration_bound import RelaxationBound as RelaxationBound
from .tuning.sor_iteration_bound import near_asymptotic_bound as near_asymptotic_bound
from .tuning.tsallis_inf import TsallisINF as TsallisINF
from .tuning.tuned_solver import System as System
from .tuning.tuned_solver import TunedSolution as TunedSolution
from .tuning.tuned_solver import TunedSolver as TunedSolver
