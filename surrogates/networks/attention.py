"""Attention of points on tokens: the block of a transformer, with layers that act at every point."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ...core.storage import register
from .layers import LayerNorm, Pointwise, PointwiseMLP


@register("Attention")
class Attention(eqx.Module):
    """Every point i receives Σ_j softmax_j(q_i · k_j/√c) v_j from the tokens j that are there, by heads of c channels each, and
    a linear map of what the heads received (Vaswani et al. 2017).

    It does not depend on the order of the tokens, but for rounding, and tokens that are masked have weights of exactly zero. At
    least one token must be there.
    """

    query: Pointwise
    key: Pointwise
    value: Pointwise
    out: Pointwise
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, *, key: Array):
        keys = jax.random.split(key, 4)
        self.query, self.key, self.value, self.out = (Pointwise(width, width, key=k) for k in keys)
        self.heads = heads

    def __call__(
        self, v: Float[Array, "n c"], tokens: Float[Array, "m c"], mask: Bool[Array, " m"]
    ) -> Float[Array, "n c"]:
        def by_head(x):
            return x.reshape(len(x), self.heads, -1)

        query, key, value = by_head(self.query(v)), by_head(self.key(tokens)), by_head(self.value(tokens))
        shown = jnp.broadcast_to(mask, (1, len(v), len(tokens)))
        received = jax.nn.dot_product_attention(query, key, value, mask=shown)
        return self.out(received.reshape(len(v), -1))


@register("AttentionBlock")
class AttentionBlock(eqx.Module):
    """v ↦ w + MLP(norm(w)) with w = v + attention(norm(v), norm(tokens))."""

    first: LayerNorm
    tokens: LayerNorm
    attention: Attention
    second: LayerNorm
    mlp: PointwiseMLP

    def __init__(self, width: int, heads: int, *, key: Array):
        k1, k2 = jax.random.split(key)
        self.first, self.tokens, self.second = LayerNorm(width), LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, heads, key=k1)
        self.mlp = PointwiseMLP(width, 2 * width, width, activation="gelu", key=k2)

    def __call__(
        self, v: Float[Array, "n c"], tokens: Float[Array, "m c"], mask: Bool[Array, " m"]
    ) -> Float[Array, "n c"]:
        v = v + self.attention(self.first(v), self.tokens(tokens), mask)
        return v + self.mlp(self.second(v))
