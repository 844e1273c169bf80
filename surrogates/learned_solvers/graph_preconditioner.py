"""Learned preconditioners of conjugate gradients: a graph network that writes a sparse factor or a sparse inverse."""

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
    """What the network sees of one normalised system Â = D^(−1/2) A D^(−1/2), and where it starts.

    `lower` `(m,)` the entries of Â below the diagonal, `nodes` `(n, f)` and `edges` `(n, k, g)` the features, `start` the values
    of the start: `(n + m,)` of a factor, `(K, n + 2m)` of an inverse.
    """

    lower: Float[Array, " m"]
    nodes: Float[Array, "n f"]
    edges: Float[Array, "n k g"]
    start: Float[Array, "..."]


@register("GraphPreconditioner")
class GraphPreconditioner(AbstractPreconditioner, AbstractTrainable):
    """M from the entries of A by one pass of a graph network; `CG(GraphPreconditioner(…))`.

    The network adds to a classical start and sees only what does not change under A → c A:

    - "factor": M = L Lᵀ (NeuralPCG, Li et al. 2023). L starts from an incomplete Cholesky factor; with `classical=False` from
      √diag(A), which is then fixed as in the paper. Networks that start from nothing have not beaten IC(0) in iterations
      (arXiv 2405.15557).
    - "inverse": M⁻¹ = G Gᵀ + shift (learned sparse approximate inverse, arXiv 2510.27517). G = Ĝ_1 … Ĝ_K starts from
      `PolynomialInverse`; with `classical=False` from D^(−1/2). Train two factors: one alone gets worse (see `inverse_loss`).

    One network serves all sizes. It is trained for a family of coefficients by `fit` (see `PreconditionerObjective`); far
    outside that it stays symmetric positive definite but may be slow. `bind` works under jit for a `Diffusion`; the pattern
    of a `Sparse` must be concrete. A pattern costs host time at every `bind` (a second per 10⁵ unknowns), so compile the
    solve once.

    **Arguments:** `factors`: K, of an inverse. `modified`: of the incomplete Cholesky start. `shift`: of an inverse, relative to
    1/diag(A). `width`, `depth`: of the `GraphNetwork`.
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
        """`PreconditionerObjective` with these options; `operators=…` and `vectors=…` are needed."""
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
        """The factor or the inverse that the network writes for this operator."""
        entries = symmetric_entries(operator)
        levels = TriangularPattern(entries.pattern) if self.form == "factor" else None
        values = self.values(entries.pattern, self.system(entries, levels))
        if levels is None:
            return scaled_inverse(entries, values, self.shift, operator.in_structure().shape)
        scale = jnp.sqrt(entries.diagonal)
        return TriangularFactor(levels, values * jnp.concatenate([scale, scale[entries.pattern.rows]]))

    def system(self, entries: SymmetricEntries, levels: TriangularPattern | None) -> GraphSystem:
        """Features and start of one system. `levels` of the pattern are needed for a factor alone."""
        pattern, diagonal, lower = entries
        n, m, scale = pattern.size, pattern.places, jnp.sqrt(diagonal)
        normalised = entries.normalised()
        a = pattern.by_rows(normalised, normalised)
        # Row sums say how far the boundary or a shift is felt; ratios of the diagonal where the coefficient jumps.
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
        """The values of L̂ `(n + m,)` or of Ĝ_1 … Ĝ_K `(K, n + 2m)` for the normalised system."""
        of_nodes, of_edges = self.network(pattern, system.nodes, system.edges)
        of_edges = of_edges.reshape(-1, of_edges.shape[-1])[pattern.slots]
        if self.form == "inverse":
            return system.start + jnp.concatenate([of_nodes, of_edges]).T
        n, m = pattern.size, pattern.places
        diagonal = system.start[:n] * jnp.exp(of_nodes[:, 0]) if self.classical else system.start[:n]
        return jnp.concatenate([diagonal, system.start[n:] + of_edges[:m, 0]])
