"""Algebraic multigrid by smoothed aggregation, for sparse matrices without a grid."""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer
from jaxtyping import Array, Float

from ....core.arrays import AnyArray
from ...kernels import aggregation, polynomial_smoothing
from ...kernels.sparse_rows import RowMatrix
from ..method import known_number
from ..operators.field_operator import untagged
from ..operators.sparse import Sparse
from ..preconditioning import AbstractHostPreconditioner

# Skewness up to which eigenvalues are near enough to the real line for the polynomial, which grows fast beside it: with 0.5,
# upwinded convection takes 5 times the iterations.
_MOST_SKEW = 0.3

# By default it is used from this number of unknowns, and up to this number of entries per row on average.
_LARGE = 50_000
_MOST_PER_ROW = 40


class SmoothedAggregation(AbstractHostPreconditioner):
    """M⁻¹ r = one V-cycle of smoothed aggregation for a `Sparse` matrix (Vaněk, Mandel and Brezina 1996).

    Neighbours that depend on each other form aggregates, the unknowns of the next level. Interpolation is exact for the
    `candidates`, the vectors that A nearly maps to zero, up to one step of damped Jacobi which lowers its energy; coarse matrices
    are Galerkin products, and the coarsest, of at most 400 unknowns, is inverted. The smoother is an optimised
    fourth-kind Chebyshev polynomial (Lottes 2023) with the l1 scaling, symmetric, so M is symmetric positive definite for every
    positive (semi)definite A. `CG(SmoothedAggregation())` then takes 15 to 25 iterations to 1e-8 on Poisson problems of any
    size, on irregular meshes and with coefficients that jump by 1e3. Cycles run in float32 even for float64 systems.

    A matrix that is not symmetric is restricted by the prolongator of Aᵀ, and levels that are far from symmetric are smoothed
    by `degree` + 1 l1-Jacobi sweeps; use it in `FGMRES` or `BiCGStab`. Convection and diffusion take 10 to 16 iterations,
    upwind differences without diffusion too.

    The hierarchy is set up on the host by NumPy and SciPy (about a second for 1e5 unknowns) from the values that A has outside
    of compiled functions, in every `solve`. For many solves, under `jit` with a traced matrix, or for a batch of matrices under
    `vmap`, set it up once: `CG(SmoothedAggregation().bind(operator))`. It remains good for matrices that are near that one.

    **Arguments:**

    - `candidates`: near null space `(*unknowns, k)`, the constants by default. For elasticity the rigid motions, 3 in the plane
      and 6 in space.
    - `unknowns_per_node`: neighbouring unknowns that stay together, the displacements of one point: 2 or 3 in elasticity.
    - `threshold`: i and j depend on each other if |a_ij| / √(a_ii a_jj) is at least this part of the largest such number of
      i or of j. 0.25 suits jumps and anisotropy; 0 takes all connections.
    - `degree`: products with A in each smoothing, plus one: 1 to 3; by default 2, and 3 where A is not symmetric.

    **Raises** `TypeError` for operators that are not `Sparse` and for traced values; `ValueError` for other candidates or sizes
    than A has, for NaN or infinity, and for a symmetric matrix whose diagonal is not positive (saddle points: precondition
    their blocks).

    Not good for: convection along closed streamlines, Helmholtz problems, saddle points, high order elements.

    **Example:**

        >>> import scipy.sparse as sp
        >>> line = sp.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(20, 20), dtype=np.float32)
        >>> M = sp.kronsum(line, line).tocsr()
        >>> int(sx.linear.solve(M, jnp.ones(400), sx.linear.CG(sx.linear.SmoothedAggregation())).stats.iterations) < 20
        True
    """

    candidates: Float[AnyArray, "..."] | None = None
    unknowns_per_node: int = eqx.field(static=True, default=1)
    threshold: float = eqx.field(static=True, default=0.25)
    degree: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.degree not in (None, 1, 2, 3):
            raise ValueError(f"SmoothedAggregation: degree must be 1, 2 or 3, got {self.degree}")
        threshold = known_number("SmoothedAggregation", "threshold", self.threshold)
        if threshold is None or not 0 <= threshold <= 1:
            raise ValueError(f"SmoothedAggregation: threshold must lie in [0, 1], got {self.threshold}")
        if not isinstance(self.unknowns_per_node, int | np.integer) or self.unknowns_per_node < 1:
            raise ValueError(f"SmoothedAggregation: unknowns_per_node must be 1 or more, got {self.unknowns_per_node}")

    def bind(self, operator) -> "BoundSmoothedAggregation":
        matrix = concrete_matrix(operator, "SmoothedAggregation")
        symmetric, n = lx.is_symmetric(operator), operator.in_structure().size
        if n % self.unknowns_per_node:
            raise ValueError(f"SmoothedAggregation: {n} unknowns are no multiple of {self.unknowns_per_node} per node")
        nodes = np.arange(n) // self.unknowns_per_node
        built = aggregation.hierarchy(
            matrix, nodes, self._candidates(operator), threshold=self.threshold, symmetric=symmetric,
            rounding=float(jnp.finfo(operator.in_structure().dtype).eps),
        )  # fmt: skip
        degree = self.degree or (2 if symmetric else 3)
        return BoundSmoothedAggregation.of(built, operator.in_structure().dtype, degree)

    @staticmethod
    def suits(operator: Sparse) -> bool:
        """Whether a symmetric matrix is known, so large that the set-up pays in a single solve, and like that of a Laplacian: few
        entries per row, off the diagonal mostly negative."""
        n, values = operator.in_structure().size, known_values(operator)
        if n < _LARGE or len(operator.rows) > _MOST_PER_ROW * n or values is None:
            return False
        beside = values[operator.rows != operator.cols]
        return bool(np.maximum(beside, 0).sum() <= np.maximum(-beside, 0).sum() / 2)

    def _candidates(self, operator) -> np.ndarray:
        shape = operator.in_structure().shape
        n, per_node = int(np.prod(shape)), self.unknowns_per_node
        if self.candidates is None:  # one constant per component
            return np.tile(np.eye(per_node), (n // per_node, 1))
        wanted = f"SmoothedAggregation: candidates must be numbers {(*shape, 'k')}, a column per near null vector"
        if not isinstance(self.candidates, np.ndarray | jax.Array) or isinstance(self.candidates, Tracer):
            raise TypeError(f"{wanted}, known outside of jit, got {type(self.candidates).__name__}")
        given = np.asarray(self.candidates)
        if given.shape[:-1] not in (shape, (n,)) or given.shape[-1:] == (0,) or given.dtype.kind not in "fiu":
            raise ValueError(f"{wanted}, got {given.dtype} of shape {given.shape}")
        given = given.reshape(n, -1).astype(float)
        if not np.isfinite(given).all() or not given.any(0).all():
            raise ValueError(f"{wanted}; they must be finite, and none of them zero")
        return given


class Level(eqx.Module):
    """One level: its matrix, interpolation from the next one and restriction to it, in float32."""

    matrix: RowMatrix
    prolongation: RowMatrix
    restriction: RowMatrix
    polynomial: bool = eqx.field(static=True)

    def smooth(self, r: Float[Array, " n"], degree: int) -> Float[Array, " n"]:
        """About A⁻¹ r."""
        if self.polynomial:
            return polynomial_smoothing.smooth(self.matrix, 1.0, r, degree)
        x = r
        for _ in range(degree):
            x = x + r - self.matrix(x)
        return x


class BoundSmoothedAggregation(eqx.Module):
    """`SmoothedAggregation` for one operator: r ↦ one V-cycle, in float32."""

    levels: tuple[Level, ...]
    inverse: Float[Array, "coarsest coarsest"] | None
    before: Float[Array, " n"]
    after: Float[Array, " n"]
    degree: int = eqx.field(static=True)

    @classmethod
    def of(cls, built: aggregation.HostHierarchy, dtype, degree: int) -> "BoundSmoothedAggregation":
        """From the hierarchy on the host, for systems of `dtype`."""
        single = lambda matrix: RowMatrix.from_scipy(matrix, np.float32)  # noqa: E731
        levels = tuple(
            Level(single(a), single(up), single(down), skewness < _MOST_SKEW) for a, up, down, skewness in built.levels
        )
        inverse = None if built.inverse is None else jnp.asarray(built.inverse, jnp.float32)
        # What enters the cycle is about as large as r, so that it cannot leave the range of float32.
        typical = np.exp(np.log(built.scale).mean())
        before, after = built.scale / typical, built.scale * typical
        return cls(levels, inverse, jnp.asarray(before, dtype), jnp.asarray(after, dtype), degree)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of unknowns of every level, from fine to coarse."""
        last = () if self.inverse is None else self.inverse.shape[:1]
        return (*(level.matrix.pattern.size for level in self.levels), *last)

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        z = self._cycle(0, (self.before * r.ravel()).astype(jnp.float32))
        return (self.after * z.astype(r.dtype)).reshape(r.shape)

    def _cycle(self, depth: int, r: Float[Array, " n"]) -> Float[Array, " n"]:
        if depth == len(self.levels):
            return r if self.inverse is None else jnp.matmul(self.inverse, r, precision="highest")
        level = self.levels[depth]
        x = level.smooth(r, self.degree)
        x = x + level.prolongation(self._cycle(depth + 1, level.restriction(r - level.matrix(x))))
        return x + level.smooth(r - level.matrix(x), self.degree)


def known_values(operator: Sparse) -> np.ndarray | None:
    """The values on the host, those of the primal under `grad`; None inside `jit` and `vmap`."""
    parts = [jax.lax.stop_gradient(x) if isinstance(x, Tracer) else x for x in (operator.storage, operator.slots)]
    if any(isinstance(x, Tracer) for x in parts):
        return None
    storage, slots = map(np.asarray, parts)
    return storage.ravel()[slots].astype(float)


def concrete_matrix(operator, user: str) -> sp.csr_array:
    """The matrix of a `Sparse` operator in float64 on the host. Raises `TypeError` naming the `user` for other operators and for
    traced values, `ValueError` for values that are not finite, or a diagonal that is not positive where A is symmetric."""
    operator = untagged(operator)
    if not isinstance(operator, Sparse):
        raise TypeError(
            f"{user} needs a Sparse operator, got {type(operator).__name__}; on grids use Multigrid(), else Sparse.from_scipy"
        )
    values = known_values(operator)
    if values is None:
        raise TypeError(
            f"{user} is set up on the host, but the matrix is traced: bind it outside of jit and vmap to a matrix with values, "
            f"M = {user}(...).bind(operator), and solve with CG(M) or FGMRES(M)"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{user}: the matrix holds NaN or infinity")
    n = operator.in_structure().size
    matrix = sp.csr_array(sp.coo_array((values, (operator.rows, operator.cols)), shape=(n, n)))
    if operator.symmetric and (bad := np.flatnonzero(matrix.diagonal() <= 0)).size:
        raise ValueError(
            f"{user}: needs a positive diagonal where the matrix is symmetric, {bad.size} entries are not, the first at row "
            f"{bad[0]}; use MINRES() with a preconditioner of your own for indefinite matrices"
        )
    return matrix
