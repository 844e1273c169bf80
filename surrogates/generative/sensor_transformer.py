"""`SensorTransformer`: a set of observations of fields as channels of a field, by attention."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import check_fields, count
from ...core.domains import Grid
from ...core.storage import register
from ..networks.attention import AttentionBlock
from ..networks.layers import LayerNorm, Pointwise, PointwiseMLP
from .observed_set import ObservedSet


@register("SensorTransformer")
@dataclass(frozen=True)
class SensorTransformer:
    """Sizes of the transformer of an `AmortizedPosterior`.

    Every number that was observed is a token: its value, the logarithm of its deviation, which field it is of, and sines and
    cosines of its place. The tokens, and two more that are always there, attend to each other `depth` times; then the points of
    the field, known by sines and cosines of their places, attend to the tokens `depth` times. What they receive are `width`
    channels of a field, at any resolution.

    **Arguments:** `width`, channels, a multiple of `heads`; `depth`; `heads`; `waves`, frequencies of sines and cosines per axis,
    about as many as fields have.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1 or a width that is no multiple of the
    heads.

    **Example:**

        >>> sx.generative.SensorTransformer(width=32).heads
        4
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    waves: int = 8

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "depth", "heads", "waves"):
            count("SensorTransformer", name, vars(self)[name])
        if self.width % self.heads:
            raise ValueError(f"SensorTransformer: width={self.width} is no multiple of heads={self.heads}")


@register("SensorReader")
class SensorReader(eqx.Module):
    """The network of `SensorTransformer`."""

    lifting: PointwiseMLP
    always: Float[Array, "2 c"]
    among: tuple[AttentionBlock, ...]
    asking: PointwiseMLP
    across: tuple[AttentionBlock, ...]
    norm: LayerNorm
    out: Pointwise
    config: SensorTransformer = eqx.field(static=True)
    periodic: tuple[bool, ...] = eqx.field(static=True)
    channels: int = eqx.field(static=True)

    def __init__(self, config: SensorTransformer, periodic: tuple[bool, ...], channels: int, *, key: Array):
        keys = jax.random.split(key, 2 * config.depth + 4)
        width, place = config.width, 2 * config.waves * len(periodic)
        self.lifting = PointwiseMLP(2 + channels + place, width, width, activation="gelu", key=keys[0])
        self.always = jax.random.normal(keys[1], (2, 2 + channels + place))
        self.asking = PointwiseMLP(place, width, width, activation="gelu", key=keys[2])
        self.norm, self.out = LayerNorm(width), Pointwise(width, width, key=keys[3])
        blocks = tuple(AttentionBlock(width, config.heads, key=k) for k in keys[4:])
        self.among, self.across = blocks[: config.depth], blocks[config.depth :]
        self.config, self.periodic, self.channels = config, periodic, channels

    def __call__(self, observed: ObservedSet, grid: Grid) -> Float[Array, "*space c"]:
        """Channels at the points of a grid."""
        dtype = self.always.dtype
        number = jnp.stack([observed.values, jnp.log(observed.std) / 4], -1)
        kind = jax.nn.one_hot(observed.channel, self.channels, dtype=dtype)
        features = jnp.concatenate([number.astype(dtype), kind, self._waves(observed.places)], -1)
        mask = jnp.concatenate([jnp.ones(2, bool), observed.mask])
        tokens = self.lifting(jnp.concatenate([self.always, jnp.where(observed.mask[:, None], features, 0)]))
        for block in self.among:
            tokens = block(tokens, tokens, mask)
        v = self.asking(self._waves(jnp.asarray(grid.scaled(grid.points), dtype).reshape(-1, grid.ndim)))
        for block in self.across:
            v = block(v, tokens, mask)
        return self.out(self.norm(v)).reshape(*grid.shape, -1)

    def _waves(self, places: Float[Array, "n d"]) -> Float[Array, "n w"]:
        """Sines and cosines, of the period of an axis, or of twice its length."""
        turns = 2 * np.pi * np.where(self.periodic, 1.0, 0.5)
        angles = places[..., None] * (turns[:, None] * np.arange(1, self.config.waves + 1))
        angles = angles.astype(self.always.dtype).reshape(len(places), -1)
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
