"""`GraphNetwork`: a message-passing network on the graph of a sparse symmetric matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.linear.operators.sparsity_pattern import SymmetricPattern
from ..networks.layers import PointwiseMLP


@register("GraphNetwork")
class GraphNetwork(eqx.Module):
    """A network from features of the unknowns and of the off-diagonal entries of a sparse matrix to `outputs` numbers for each.

    It encodes, processes and decodes (Pfaff et al. 2021; used by NeuralPCG, Li et al. 2023, §4). Each of `depth` rounds updates
    the entries, e_ij ← e_ij + φ(e_ij, h_i, h_j), and then the unknowns, h_i ← h_i + ψ(h_i, Σ_j e_ij). The entries (i, j) and
    (j, i) have separate values. The result does not depend on the numbering of the unknowns, unless the features do. The last
    layer is zero before training.

    **Arguments:**

    - `node_features`, `edge_features`: number of features per unknown and per entry.
    - `outputs`: number of outputs per unknown and per entry.
    - `width`, `depth`: hidden width and number of rounds. 16 and 3 are enough for five-point stencils; NeuralPCG has 128 and 5.
    - `key`: random key of the initial weights.

    **Example:**

        >>> sx.count_parameters(sx.learned_solvers.GraphNetwork(2, 3, width=4, depth=1, key=key)) > 20
        True
    """

    encode_nodes: PointwiseMLP
    encode_edges: PointwiseMLP
    edge_updates: tuple[PointwiseMLP, ...]
    node_updates: tuple[PointwiseMLP, ...]
    decode_nodes: PointwiseMLP
    decode_edges: PointwiseMLP

    def __init__(
        self, node_features: int, edge_features: int, *, outputs: int = 1, width: int = 16, depth: int = 3, key: Array
    ):
        keys = iter(jax.random.split(key, 4 + 2 * depth))

        def mlp(*sizes):
            return PointwiseMLP(*sizes, activation="relu", key=next(keys))

        self.encode_nodes, self.encode_edges = mlp(node_features, width, width), mlp(edge_features, width, width)
        self.edge_updates = tuple(mlp(3 * width, width, width) for _ in range(depth))
        self.node_updates = tuple(mlp(2 * width, width, width) for _ in range(depth))
        self.decode_nodes, self.decode_edges = (_from_zero(mlp(width, width, outputs)) for _ in range(2))

    @property
    def width(self) -> int:
        return self.encode_nodes.layers[-1].weight.shape[-1]

    @property
    def depth(self) -> int:
        return len(self.edge_updates)

    def __call__(
        self, pattern: SymmetricPattern, nodes: Float[Array, "n f"], edges: Float[Array, "n k g"]
    ) -> tuple[Float[Array, "n outputs"], Float[Array, "n k outputs"]]:
        """Outputs for the unknowns `(n, outputs)`, and for the entries `(n, k, outputs)`: those of row i are in the order of
        `pattern.neighbours[i]`."""
        real = (pattern.entries < 2 * pattern.places)[..., None]
        with jax.default_matmul_precision("highest"):
            h, e = self.encode_nodes(nodes), self.encode_edges(edges)
            for update_edges, update_nodes in zip(self.edge_updates, self.node_updates, strict=True):
                ends = jnp.concatenate([jnp.broadcast_to(h[:, None], e.shape), h[pattern.neighbours]], axis=-1)
                e = e + update_edges(jnp.concatenate([e, ends], axis=-1))
                received = jnp.where(real, e, 0).sum(1)
                h = h + update_nodes(jnp.concatenate([h, received], axis=-1))
            return self.decode_nodes(h), self.decode_edges(e)


def _from_zero(mlp: PointwiseMLP) -> PointwiseMLP:
    last = mlp.layers[-1]
    return eqx.tree_at(lambda m: m.layers[-1], mlp, jax.tree.map(jnp.zeros_like, last))
