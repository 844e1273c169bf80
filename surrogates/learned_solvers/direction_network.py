"""`DirectionNetwork`, the residual U-Net of Kaneda et al. (2023), from a residual field to a search direction."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.storage import register
from ..trainable import AbstractTrainable
from .direction_objective import DirectionObjective
from .layers import convolve, initial_kernel, pooled, repeated


@register("DirectionNetwork")
class DirectionNetwork(AbstractTrainable):
    """A search direction q = network(r) from a residual field r `(*n)` of unit norm (Kaneda et al. 2023), in any dimension.

    A 3ᵈ convolution maps r to `channels`. Every level but the coarsest applies residual blocks x ← relu(K₂ relu(K₁ x)) + x,
    then average pooling by two, the next level and nearest-neighbour upsampling; it adds the field from before the pooling and
    applies residual blocks again. The coarsest level applies residual blocks only. A pointwise linear map gives q. Convolutions
    are padded with zeros.

    The network does not see the operator or obstacles, so it works only on the kind of domain on which it was trained.
    `MultilevelDirection` sees both.

    **Arguments:**

    - `dim`: number of space dimensions.
    - `channels`: 16 in the paper.
    - `blocks`: numbers of residual blocks before the pooling of a level, at the coarsest level, and after the upsampling.
    - `levels`: number of poolings. The paper has 1, which leaves the smooth error on large grids to the iteration.
    - `key`: random key of the initial weights.

    **Example:**

        >>> network = sx.learned_solvers.DirectionNetwork(2, channels=4, blocks=(1, 1, 1), key=key)
        >>> sx.count_parameters(network) > 100
        True
    """

    first: tuple[Float[Array, "..."], Float[Array, " c"]]
    inner: tuple[Float[Array, "..."], Float[Array, "k c"]]
    last: tuple[Float[Array, "..."], Float[Array, " 1"]]
    blocks: tuple[int, int, int] = eqx.field(static=True)
    levels: int = eqx.field(static=True)

    def __init__(
        self, dim: int, channels: int = 16, blocks: tuple[int, int, int] = (2, 3, 2), levels: int = 1, *, key: Array
    ):
        before, bottom, after = blocks
        count = 2 * (levels * (before + after) + bottom)
        window, keys = (3,) * dim, jax.random.split(key, 3)
        self.first = (initial_kernel(keys[0], *window, 1, channels), jnp.zeros(channels))
        kernels = [initial_kernel(k, *window, channels, channels) for k in jax.random.split(keys[1], count)]
        self.inner = (jnp.stack(kernels), jnp.zeros((count, channels)))
        self.last = (initial_kernel(keys[2], *(1,) * dim, channels, 1), jnp.zeros(1))
        self.blocks, self.levels = blocks, levels

    @classmethod
    def paper(cls, size: Literal[64, 128], dim: int = 3, *, key: Array) -> "DirectionNetwork":
        """The network of the paper for grids of 64³ (97,457 parameters) or 128³ points (152,881 parameters)."""
        return cls(dim, 16, {64: (2, 3, 2), 128: (3, 5, 3)}[size], key=key)

    @property
    def state(self) -> None:
        return None

    def objective(self, data: None = None, **options: Any) -> DirectionObjective:
        """The default objective of `fit`: `DirectionObjective` with these options, of which `systems=…` is required."""
        return DirectionObjective(**options)

    def renewed(self, key: Array) -> "DirectionNetwork":
        kernel = self.first[0]
        return DirectionNetwork(kernel.ndim - 2, kernel.shape[-1], self.blocks, self.levels, key=key)

    def __call__(self, r: Float[Array, "*n"]) -> Float[Array, "*n"]:
        x = r.astype(self.last[1].dtype)[..., None]
        x = self._level(convolve(x, self.first[0]) + self.first[1], 0)
        return (convolve(x, self.last[0]) + self.last[1])[..., 0].astype(r.dtype)

    def _level(self, x, level: int):
        before, bottom, after = self.blocks
        start = 2 * level * (before + after)
        if level == self.levels:
            return self._residual(x, start, bottom)
        x = self._residual(x, start, before)
        x = x + repeated(self._level(pooled(x, range(x.ndim - 1)), level + 1), x.shape[:-1])
        return self._residual(x, start + 2 * before, after)

    def _residual(self, x, start: int, blocks: int):
        kernels, biases = self.inner
        for i in range(start, start + 2 * blocks, 2):
            y = jax.nn.relu(convolve(x, kernels[i]) + biases[i])
            x = x + jax.nn.relu(convolve(y, kernels[i + 1]) + biases[i + 1])
        return x
