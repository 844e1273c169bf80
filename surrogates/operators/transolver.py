"""Transolver (Wu et al., ICML 2024): attention between a few learned slices of a mesh instead of between its points."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, number, random_key
from ...core.storage import register
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import LayerNorm, Pointwise, PointwiseMLP
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .point_features import feature_channels, point_features

_EMPTY = 1e-6  # of the whole weight, added to that of every slice, so that an empty one has a value


class SliceAttention(eqx.Module):
    """Every point belongs to the slices g by the shares s_ig = softmax_g(W v_i / τ). A slice is the mean of its points,

        z_g = Σ_i ω_i s_ig (P v)_i / Σ_i ω_i s_ig,

    with the quadrature weights ω. Slices attend to each other, z' = z + attention(z), and every point receives Σ_g s_ig z'_g.
    Each of the heads does so with channels of its own; W, and the maps of the attention, are common to them.
    """

    shares: Pointwise
    values: Pointwise
    assign: Pointwise
    attend: Pointwise
    out: Pointwise
    sharpness: Float[Array, " heads"]

    def __init__(self, width: int, heads: int, slices: int, *, key: Array):
        keys = jax.random.split(key, 5)
        own = width // heads
        self.shares, self.values = (Pointwise(width, width, key=k) for k in keys[:2])
        self.assign = Pointwise(own, slices, key=keys[2])
        self.attend = Pointwise(own, 3 * own, bias=False, key=keys[3])
        self.out = Pointwise(width, width, key=keys[4])
        self.sharpness = jnp.full(heads, 2.0)  # 1/τ

    def __call__(self, v: Float[Array, "n c"], weights: Float[Array, " n"]) -> Float[Array, "n c"]:
        heads = len(self.sharpness)
        by_head = lambda x: x.reshape(len(x), heads, -1)  # noqa: E731  (n, heads, own)
        share = jax.nn.softmax(self.assign(by_head(self.shares(v))) * self.sharpness[:, None], -1)
        weighed = share * weights[:, None, None]
        size = weighed.sum(0)[..., None] + _EMPTY
        tokens = jnp.einsum("nhg,nhc->hgc", weighed, by_head(self.values(v))) / size
        query, key, value = jnp.split(self.attend(tokens), 3, -1)
        scores = jnp.einsum("hgc,hkc->hgk", query, key) / np.sqrt(query.shape[-1]).astype(query.dtype)
        tokens = tokens + jax.nn.softmax(scores, -1) @ value
        return self.out(jnp.einsum("nhg,hgc->nhc", share, tokens).reshape(len(v), -1))


class Block(eqx.Module):
    """v ↦ w + MLP(norm(w)) with w = v + attention(norm(v))."""

    first: LayerNorm
    attention: SliceAttention
    second: LayerNorm
    mlp: PointwiseMLP

    def __init__(self, config: "TransolverConfig", *, key: Array):
        k1, k2 = jax.random.split(key)
        width = config.width
        self.first, self.second = LayerNorm(width), LayerNorm(width)
        self.attention = SliceAttention(width, config.heads, config.slices, key=k1)
        hidden = round(config.mlp * width)
        self.mlp = PointwiseMLP(width, hidden, width, activation=config.activation, key=k2)

    def __call__(self, v, weights):
        v = v + self.attention(self.first(v), weights)
        return v + self.mlp(self.second(v))


@register("Transolver.Config")
@dataclass(frozen=True)
class TransolverConfig(AbstractNetworkConfig):
    """Sizes of a `Transolver`.

    **Arguments:** `width`, channels, a multiple of `heads`; `depth`, number of blocks; `slices` per head; `heads`; `mlp`, the
    hidden width of the MLP in every block as a multiple of `width`; `activation`, "gelu", "relu" or "tanh"; `remat`, whether the
    blocks are recomputed in the backward pass, which needs less memory and a third more time.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1 or a width that is no multiple of the
    heads.

    **Example:**

        >>> sx.Transolver.config(slices=16).heads
        4
    """

    width: int = 64
    depth: int = 4
    slices: int = 32
    heads: int = 4
    mlp: float = 2.0
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    remat: bool = False

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "depth", "slices", "heads"):
            count("Transolver", name, vars(self)[name])
        if self.width % self.heads:
            raise ValueError(f"Transolver: width={self.width} is no multiple of heads={self.heads}")
        if round(number("Transolver", "mlp", self.mlp, above=0) * self.width) < 1:
            raise ValueError(f"Transolver: mlp={self.mlp} of width {self.width} leaves no hidden channel")

    def build(self, signature: Signature, key: Array) -> "SliceNetwork":
        return SliceNetwork(self, signature, key=key)


class SliceNetwork(AbstractNetwork):
    """The network of `Transolver`, for one sample."""

    lifting: PointwiseMLP
    blocks: tuple[Block, ...]
    norm: LayerNorm
    projection: Pointwise
    config: TransolverConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: TransolverConfig, signature: Signature, *, key: Array):
        keys = jax.random.split(key, config.depth + 2)
        n_in, width = feature_channels("Transolver", signature), config.width
        self.lifting = PointwiseMLP(n_in, 2 * width, width, activation=config.activation, key=keys[0])
        self.blocks = tuple(Block(config, key=k) for k in keys[2:])
        self.norm, self.projection = LayerNorm(width), Pointwise(width, signature.out_channels, key=keys[1])
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(resolution_free=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        features, _, weights = point_features(inputs)
        dtype = self.projection.weight.dtype
        v, weights = self.lifting(features.astype(dtype)), weights.astype(dtype)
        for block in self.blocks:
            run = lambda block, v: block(v, weights)  # noqa: E731
            v = (jax.checkpoint(run) if self.config.remat else run)(block, v)
        y = self.projection(self.norm(v))
        return y.reshape(*inputs.query.points.shape[:-1], -1), state


class Transolver:
    """Transolver for grids, point clouds and meshes, also those that differ per sample. `Transolver(task, key=key)` returns a
    `NetworkSurrogate` to train by `fit`.

    The features of every point (input values, parameters, coordinates) are lifted to `width` channels. A block lets every point
    choose softly among `slices`, averages the points of a slice with their quadrature weights, lets the slices attend to each
    other, and gives every point the mean of its slices (`SliceAttention`); an MLP acts at every point after it. The cost is
    O(points · slices). The order of the points does not matter, padded points have no influence, and as the averages are
    integrals, finer meshes give the same function.

    **Arguments:**

    - `task`: the learning problem; all fields live at the same points. Points are seen by coordinates alone, edges are not
      read. Give what tells them apart, such as the distance to the boundary, as an input field.
    - `width`: number of channels, 32 to 128.
    - `depth`: number of blocks, 3 to 8.
    - `slices`: slices per head, 16 to 64.
    - `key`: random key of the initial weights.
    - `details`: the other fields of `Transolver.config`: `heads` (4 to 8), `mlp`, `activation`, `remat`.

    It fails on fields with structure finer than the slices can tell from the features, and at coordinates far outside of the
    training points.

    **Raises:** `ValueError` for inputs at other points than the targets, and for wrong settings.

    **Source:** Wu et al., "Transolver: a fast transformer solver for PDEs on general geometries", ICML 2024, equations 1 to 5.
    Two things are ours: the quadrature weights in the means, where the paper counts points, and the sum z + attention(z), where
    the paper has attention(z). Attention is nearly uniform at the start, and without the sum all slices then say the same.

    **Example:**

        >>> sx.count_parameters(sx.Transolver(task, width=8, depth=1, slices=4, heads=2, key=key))
        807
    """

    config = TransolverConfig

    @checked
    def __new__(
        cls, task: Task, *, width: int = 64, depth: int = 4, slices: int = 32, key: Array, **details: Any
    ) -> NetworkSurrogate:
        config = TransolverConfig(width=width, depth=depth, slices=slices, **details)
        return NetworkSurrogate.build(config, task, random_key("Transolver", key))
