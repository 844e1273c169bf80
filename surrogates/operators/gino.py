"""Geometry-informed neural operator (Li et al., NeurIPS 2023): graph kernels to a latent grid, Fourier blocks, and back."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, number, random_key
from ...core.domains import Grid
from ...core.storage import register
from ...solvers.kernels.point_grid import Lattice, to_grid, to_points
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import ACTIVATIONS, Pointwise, PointwiseMLP
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .fno import FNOConfig
from .fourier_block import Block
from .point_features import feature_channels, point_features


class NeighbourKernel(eqx.Module):
    """κ(x, y), one number per channel, from the coordinates of the point and the offset of the node: an MLP of (x, o, |o|²)."""

    mlp: PointwiseMLP

    def __init__(self, ndim: int, hidden: int, width: int, activation: str, *, key: Array):
        self.mlp = PointwiseMLP(2 * ndim + 1, hidden, width, activation=activation, key=key)

    def __call__(self, points: Float[Array, "m d"], offset: Float[Array, "m k d"]) -> Float[Array, "m k c"]:
        x = jnp.broadcast_to(points[:, None], offset.shape)
        return 1 + self.mlp(jnp.concatenate([x, offset, (offset**2).sum(-1, keepdims=True)], -1))


@register("GINO.Config")
@dataclass(frozen=True)
class GINOConfig(AbstractNetworkConfig):
    """Sizes of a `GINO`.

    **Arguments:** `width`, channels; `grid`, nodes of the latent grid per axis; `modes` and `depth` of the Fourier blocks on it;
    `reach`, the radius of neighbourhoods in distances of nodes; `kernel`, the hidden width of the kernels; `margin`, how far the
    latent grid extends beyond the box of the training points, as a fraction of its longest side; `chunk`, points per chunk of the
    neighbourhood integrals; `activation`, "gelu", "relu" or "tanh".

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1, a `grid` too small for the reach or
    the modes, or a negative margin.

    **Example:**

        >>> sx.GINO.config(grid=24).width
        32
    """

    width: int = 32
    grid: int = 32
    modes: int = 12
    depth: int = 4
    reach: int = 2
    kernel: int = 32
    margin: float = 0.1
    chunk: int = 4096
    activation: Literal["gelu", "relu", "tanh"] = "gelu"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "modes", "depth", "reach", "kernel", "chunk"):
            count("GINO", name, vars(self)[name])
        count("GINO", "grid", self.grid, least=2 * self.reach)
        number("GINO", "margin", self.margin, least=0)
        if self.modes > self.grid // 2:
            raise ValueError(
                f"GINO: modes={self.modes}, but the latent grid={self.grid} knows {self.grid // 2} frequencies"
            )

    def build(self, signature: Signature, key: Array) -> "LatentGridNetwork":
        return LatentGridNetwork(self, signature, key=key)


class LatentGridNetwork(AbstractNetwork):
    """The network of `GINO`, for a batch."""

    lifting: PointwiseMLP
    encoder: NeighbourKernel
    entry: Pointwise
    blocks: tuple[Block, ...]
    decoder: NeighbourKernel
    projection: PointwiseMLP
    config: GINOConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: GINOConfig, signature: Signature, *, key: Array):
        self.config, self.signature = config, signature
        ndim, width, act = signature.ndim, config.width, config.activation
        if not 1 <= ndim <= 3:
            raise ValueError(f"GINO: points with 1 to 3 coordinates, the task has {ndim}")
        keys = jax.random.split(key, config.depth + 5)
        self.lifting = PointwiseMLP(feature_channels("GINO", signature), 2 * width, width, activation=act, key=keys[0])
        self.encoder, self.decoder = (NeighbourKernel(ndim, config.kernel, width, act, key=k) for k in keys[1:3])
        self.entry = Pointwise(width + 1 + ndim, width, key=keys[3])
        fourier = FNOConfig(width=width, modes=config.modes, depth=config.depth, activation=act)
        kept = fourier.kept_modes(ndim)
        self.blocks = tuple(Block(fourier, kept, self._grid(ndim), key=k) for k in keys[5:])
        self.projection = PointwiseMLP(2 * width, 2 * width, signature.out_channels, activation=act, key=keys[4])

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, resolution_free=True)

    def initial_state(self) -> None:
        return None

    def _grid(self, ndim: int) -> Grid:
        return Grid.unit((self.config.grid,) * ndim)

    @property
    def lattice(self) -> Lattice:
        return Lattice(self.signature.ndim, self.config.grid, self.config.reach, self.config.margin)

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        lattice, chunk, ndim = self.lattice, self.config.chunk, self.signature.ndim
        dtype = self.entry.weight.dtype

        def encoded(inputs):
            features, points, weights = (x.astype(dtype) for x in point_features(inputs))
            local = self.lifting(features)
            mean, density = to_grid(lattice, self.encoder, points, weights, local, chunk)
            nodes = jnp.asarray(lattice.nodes, dtype)
            return local, points, self.entry(jnp.concatenate([mean, density[..., None], nodes], -1))

        local, points, v = jax.vmap(encoded)(inputs)
        v = jnp.transpose(v, (*range(1, ndim + 1)[::-1], 0, ndim + 1))
        grid = self._grid(ndim)
        for i, block in enumerate(self.blocks):
            v, _ = block(v, ACTIVATIONS[self.config.activation], i == len(self.blocks) - 1, None, train, grid)
        v = jnp.transpose(v, (ndim, *range(ndim)[::-1], ndim + 1))

        def decoded(local, points, v):
            return self.projection(jnp.concatenate([to_points(lattice, self.decoder, points, v, chunk), local], -1))

        y = jax.vmap(decoded)(local, points, v)
        return y.reshape(*inputs.query.points.shape[:-1], -1), state


class GINO:
    """Geometry-informed neural operator for point clouds and meshes that differ per sample, and for grids. `GINO(task, key=key)`
    returns a `NetworkSurrogate` to train by `fit`.

    The features of the points (input values, parameters, coordinates) are lifted, v(y), and brought to the nodes x of a
    uniform grid by a graph kernel, the mean of κ(y, x) ⊙ v(y) over the points in a ball with their quadrature weights. The
    blocks of an `FNO` act on the grid, which also sees the density of points and so the shape of the domain. A second graph
    kernel brings the result to every point, where an MLP joins it with the point's own features. The order of the points does
    not matter and padded points have no influence.

    Neighbours are found by the coordinates of a point alone: nothing is searched, none is lost, and shapes are static. Integrals
    over neighbourhoods are computed for `chunk` points at a time, also in the derivative, so that memory grows with
    batch · chunk · (2 · reach)^d · width and not with the number of neighbours of all points.

    **Arguments:**

    - `task`: the learning problem, with all fields at the same points of one to three coordinates.
    - `width`: channels, 16 to 64.
    - `grid`: nodes of the latent grid per axis over the box of the training points, 16 to 64; the finest structure it resolves
      is two nodes wide.
    - `modes`: frequencies of the Fourier blocks per axis and sign, at most `grid`/2.
    - `depth`: Fourier blocks, 3 to 5.
    - `key`: random key of the initial weights.
    - `details`: the other fields of `GINO.config`: `reach` (1 to 3), `kernel`, `margin`, `chunk`, `activation`.

    A point beyond the latent grid has the neighbours of the nearest place in it and only its own features tell it apart, so that
    predictions there extrapolate: widen `margin` if samples exceed the box of the training points by more.

    **Raises:** `ValueError` for inputs at other points than the targets, for more than three coordinates, and for wrong settings.

    **Source:** Li et al., "Geometry-informed neural operator for large-scale 3D PDEs", NeurIPS 2023. Ours weighs neighbours by
    (1 − |o|²)², so that predictions are continuous in the points, and gives the density in place of a distance function.

    **Example:**

        >>> sx.count_parameters(sx.GINO(task, width=4, grid=8, modes=4, depth=1, key=key))
        837
    """

    config = GINOConfig

    @checked
    def __new__(
        cls, task: Task, *, width: int = 32, grid: int = 32, modes: int = 12, depth: int = 4, key: Array, **details: Any
    ) -> NetworkSurrogate:
        config = GINOConfig(width=width, grid=grid, modes=modes, depth=depth, **details)
        return NetworkSurrogate.build(config, task, random_key("GINO", key))
