"""`VectorField`, a small network of vectors and time: velocities, scores and noise of low-dimensional data."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key
from ...core.storage import register
from ..trainable import AbstractTrainable
from .path_objectives import FlowObjective


@register("VectorField")
class VectorField(AbstractTrainable):
    """A multilayer perceptron `field(x, t, condition)` of vectors `(dim,)`, the network of a `FlowPrediction` or the velocity of
    `transport`. It sees x, t and the sines and cosines of πt, 2πt and 4πt.

    **Arguments:** `dim`: number of entries; `width`, `depth`: of the perceptron; `key`: random key of the initial weights.

    **Example:**

        >>> field = sx.generative.VectorField(2, width=8, depth=1, key=key)
        >>> sx.count_parameters(field) > 0
        True
    """

    mlp: eqx.nn.MLP
    dim: int = eqx.field(static=True)
    width: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)

    @checked
    def __init__(self, dim: int, width: int = 64, depth: int = 3, *, key: Any):
        self.dim, self.width, self.depth = (
            count("VectorField", name, value) for name, value in (("dim", dim), ("width", width), ("depth", depth))
        )
        key = random_key("VectorField", key)
        self.mlp = eqx.nn.MLP(self.dim + 7, self.dim, self.width, self.depth, jax.nn.gelu, key=key)

    @property
    def state(self) -> None:
        return None

    def __call__(self, x: Float[Array, " d"], t: Any, condition: Any = None) -> Float[Array, " d"]:
        angles = jnp.pi * jnp.asarray(t, x.dtype) * jnp.array([1.0, 2.0, 4.0], x.dtype)
        return self.mlp(jnp.concatenate([x, jnp.asarray(t, x.dtype)[None], jnp.sin(angles), jnp.cos(angles)]))

    def objective(self, data: None = None, **options: Any) -> FlowObjective:
        """The default objective of `fit`: `FlowObjective` with these options, of which `samples=…` is required."""
        return FlowObjective(**options)

    def renewed(self, key: Array) -> "VectorField":
        return VectorField(self.dim, self.width, self.depth, key=key)
