"""`GraphPreconditioner`: a graph network that computes a sparse factor or a sparse inverse as a preconditioner."""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.linear.operators.sparsity_pattern import SymmetricEntries, SymmetricPattern, symmetric_entries
from ...solvers.linear.preconditioners.incomplete_cholesky import incomplete_cholesky
from ...solvers.linear.preconditioners.sparse_inverse import SparseInverse, polynomial_factors, scaled_inverse
from ...solvers.linear.preconditioners.triangular_factor import TriangularFactor, TriangularPattern
from ...solvers.linear.preconditioning import AbstractPreconditioner
from ..trainable import AbstractTrainable
from .graph_network import GraphNetwork

Form = Literal["factor", "inverse"]


class GraphSystem(NamedTuple):
    """The network's inputs for one normalised system Â = D^(−1/2) A D^(−1/2), where D is the diagonal of A.

    **Fields:**

    - `lower` `(m,)`: the entries of Â below the diagonal.
    - `nodes` `(n, f)`, `edges` `(n, k, g)`: features of the unknowns and of the entries.
    - `start`: the values that the network corrects: `(n + m,)` of a factor, `(K, n + 2m)` of an inverse.
    """

    lower: Float[Array, " m"]
    nodes: Float[Array, "n f"]
    edges: Float[Array, "n k g"]
    start: Float[Array, "..."]


@register("GraphPreconditioner")
class GraphPreconditioner(AbstractPreconditioner, AbstractTrainable):
    """A preconditioner M for a symmetric positive definite A, computed from the entries of A by one pass of a graph network.

    Train `GraphPreconditioner("factor", key=key)` by `fit` on systems of one family of coefficients (see
    `PreconditionerObjective`), then use it as `CG(preconditioner)`. One network serves all sizes. Far from its training family M
    stays symmetric positive definite, but CG may need many iterations.

    The network corrects a classical preconditioner. Its features do not change under A → c A.

    - "factor": M = L Lᵀ (NeuralPCG, Li et al. 2023). The network corrects an incomplete Cholesky factor L: it multiplies the
      diagonal by positive numbers and adds to the other entries. With `classical=False` it starts from √diag(A), and the diagonal
      of L stays fixed, as in the paper. Such networks have not beaten incomplete Cholesky in iterations (arXiv 2405.15557).
    - "inverse": M⁻¹ = G Gᵀ + shift with G = Ĝ_1 … Ĝ_K (learned sparse approximate inverse, arXiv 2510.27517). The network adds to
      the factors of `PolynomialInverse`; with `classical=False` to D^(−1/2), where D is the diagonal of A. Use two factors: a
      single one gets worse by training (see `inverse_loss`).

    `bind` works under jit for a `Diffusion`; the pattern of a `Sparse` must be concrete. Every `bind` analyses the pattern on the
    host, about a second per 10⁵ unknowns, so compile a solve once and reuse it.

    **Arguments:**

    - `form`: "factor" or "inverse".
    - `classical`: whether the network corrects a classical preconditioner.
    - `factors`: number K of factors of an inverse.
    - `modified`: relaxation of the modified incomplete Cholesky factor; see `linear.IncompleteCholesky`.
    - `shift`: shift of an inverse, relative to 1/diag(A).
    - `width`, `depth`: sizes of the `GraphNetwork`.
    - `key`: random key of the initial weights.

    **Raises:** `ValueError` for an unknown form, or an inverse without factors or with a shift that is not positive.

    **Example:**

        >>> M = sx.learned_solvers.GraphPreconditioner("factor", width=4, depth=1, key=key)
        >>> sx.linear.Status(int(sx.linear.solve(A.as_diffusion(), b, sx.linear.CG(M)).status)).name
        'converged'
    """

    network: GraphNetwork
    form: Form = eqx.field(static=True)
    classical: bool = eqx.field(static=True)
    factors: int = eqx.field(static=True)
    modified: float = eqx.field(static=True)
    shift: float = eqx.field(static=True)

    def __init__(
        self,
        form: Form,
        *,
        classical: bool = True,
        factors: int = 1,
        modified: float = 0.0,
        shift: float = 0.2,
        width: int = 16,
        depth: int = 3,
        key: Array,
    ):
        if form not in ("factor", "inverse"):
            raise ValueError(f"GraphPreconditioner: form must be 'factor' or 'inverse', got {form!r}")
        if form == "inverse" and not (factors >= 1 and shift > 0):
            raise ValueError(f"GraphPreconditioner: needs factors ≥ 1 and shift > 0, got {factors} and {shift}")
        self.form, self.classical, self.factors, self.modified, self.shift = form, classical, factors, modified, shift
        extra = int(form == "factor") * (1 + int(classical))
        outputs = factors if form == "inverse" else 1
        self.network = GraphNetwork(2 + int(extra == 2), 2 + extra, outputs=outputs, width=width, depth=depth, key=key)

    @property
    def state(self) -> None:
        return None

    def objective(self, data: None = None, **options: Any):
        """The default objective of `fit`: `PreconditionerObjective.of` with these options, of which `operators=…` and `vectors=…`
        are required."""
        from .preconditioner_objective import PreconditionerObjective  # it evaluates preconditioners

        return PreconditionerObjective.of(self, **options)

    def renewed(self, key: Array) -> "GraphPreconditioner":
        return GraphPreconditioner(
            self.form,
            classical=self.classical,
            factors=self.factors,
            modified=self.modified,
            shift=self.shift,
            width=self.network.width,
            depth=self.network.depth,
            key=key,
        )

    def bind(self, operator) -> TriangularFactor | SparseInverse:
        """The preconditioner for this operator: the factor or the inverse that the network computes."""
        entries = symmetric_entries(operator)
        levels = TriangularPattern(entries.pattern) if self.form == "factor" else None
        values = self.values(entries.pattern, self.system(entries, levels))
        if levels is None:
            return scaled_inverse(entries, values, self.shift, operator.in_structure().shape)
        scale = jnp.sqrt(entries.diagonal)
        return TriangularFactor(levels, values * jnp.concatenate([scale, scale[entries.pattern.rows]]))

    def system(self, entries: SymmetricEntries, levels: TriangularPattern | None) -> GraphSystem:
        """The network's inputs for one system. `levels`, the triangular pattern of the system, is needed for a factor only."""
        pattern, diagonal, lower = entries
        n, m, scale = pattern.size, pattern.places, jnp.sqrt(diagonal)
        normalised = entries.normalised()
        a = pattern.by_rows(normalised, normalised)
        # Row sums show where the boundary or a shift acts; ratios of diagonal entries show where the coefficient jumps.
        nodes = [1 + pattern.by_rows(lower, lower).sum(1) / diagonal, 1 + a.sum(1)]
        edges = [a, jnp.tanh(jnp.log(scale[pattern.neighbours] / scale[:, None]) / 2)]
        if self.form == "inverse":
            start = jnp.zeros((self.factors, n + 2 * m), lower.dtype).at[:, :n].set(1)
            start = polynomial_factors(normalised, n, self.factors) if self.classical else start
            return GraphSystem(normalised, jnp.stack(nodes, -1), jnp.stack(edges, -1), start)
        ones = jnp.ones(m, lower.dtype)
        edges.append(pattern.by_rows(ones, -ones))
        if self.classical:
            assert levels is not None
            start = incomplete_cholesky(levels, diagonal, lower, self.modified).values
            start = start / jnp.concatenate([scale, scale[pattern.rows]])
            nodes.append(start[:n])
            edges.append(pattern.by_rows(start[n:], start[n:]))
        else:
            start = jnp.concatenate([jnp.ones(n, lower.dtype), 0 * ones])
        return GraphSystem(normalised, jnp.stack(nodes, -1), jnp.stack(edges, -1), start)

    def values(self, pattern: SymmetricPattern, system: GraphSystem) -> Float[Array, "..."]:
        """The values, for the normalised system, of the factor L̂ `(n + m,)` or of Ĝ_1 … Ĝ_K `(K, n + 2m)`."""
        of_nodes, of_edges = self.network(pattern, system.nodes, system.edges)
        of_edges = of_edges.reshape(-1, of_edges.shape[-1])[pattern.slots]
        if self.form == "inverse":
            return system.start + jnp.concatenate([of_nodes, of_edges]).T
        n, m = pattern.size, pattern.places
        diagonal = system.start[:n] * jnp.exp(of_nodes[:, 0]) if self.classical else system.start[:n]
        return jnp.concatenate([diagonal, system.start[n:] + of_edges[:m, 0]])
