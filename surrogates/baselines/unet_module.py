"""The flax module of `UNet`. It is imported where one is built, because importing flax is slow."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class Level(nnx.Module):
    """Two convolutions of width 3, each followed by a normalisation and GELU, and dropout at the end."""

    def __init__(
        self, n_in: int, n_out: int, periodic: tuple[bool, ...], *, norm: bool, dropout: float, rngs: nnx.Rngs
    ):
        sizes = (3,) * len(periodic)
        self.convolutions = nnx.List(
            nnx.Conv(a, n_out, sizes, padding="VALID", use_bias=not norm, rngs=rngs) for a in (n_in, n_out)
        )
        self.norms = nnx.List(nnx.BatchNorm(n_out, momentum=0.9, rngs=rngs) for _ in range(2 * norm))
        self.dropout = nnx.Dropout(dropout)
        self.periodic = periodic

    def __call__(self, x: Float[Array, "b *space i"], rngs: nnx.Rngs | None) -> Float[Array, "b *space o"]:
        for i, convolution in enumerate(self.convolutions):
            for axis, wrap in enumerate(self.periodic, start=1):
                widths = [(1, 1) if place == axis else (0, 0) for place in range(x.ndim)]
                x = jnp.pad(x, widths, mode="wrap" if wrap else "constant")
            x = convolution(x)
            x = nnx.gelu(self.norms[i](x) if len(self.norms) else x)
        return x if rngs is None else self.dropout(x, rngs=rngs)


class UNetModule(nnx.Module):
    """From `(b, *space, n_in)` to `(b, *space, n_out)`."""

    def __init__(
        self, n_in: int, n_out: int, width: int, levels: int, periodic: tuple[bool, ...], *, norm: bool, dropout: float,
        rngs: nnx.Rngs,
    ):  # fmt: skip
        options = {"norm": norm, "dropout": dropout, "rngs": rngs}
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nnx.List(
            Level(a, b, periodic, **options) for a, b in zip([n_in, *widths[:-1]], widths, strict=True)
        )
        self.up = nnx.List(
            Level(widths[level] + widths[level + 1], widths[level], periodic, **options) for level in range(levels)
        )
        self.last = nnx.Conv(width, n_out, (1,) * len(periodic), rngs=rngs)
        self.levels, self.periodic = levels, periodic

    def __call__(self, x: Float[Array, "b *space i"], rngs: nnx.Rngs | None) -> Float[Array, "b *space o"]:
        space = x.shape[1:-1]
        widths = [(0, 0), *((0, -n % 2**self.levels) for n in space), (0, 0)]
        x = jnp.pad(x, widths, mode="edge")
        passed = []
        for level, block in enumerate(self.down):
            x = block(_halved(x) if level else x, rngs)
            passed.append(x)
        for level in range(self.levels)[::-1]:
            for axis in range(1, x.ndim - 1):
                x = jnp.repeat(x, 2, axis)
            x = self.up[level](jnp.concatenate([x, passed[level]], -1), rngs)
        return self.last(x)[(slice(None), *(slice(0, n) for n in space))]


def _halved(x: Float[Array, "b *space c"]) -> Float[Array, "b *half c"]:
    """Means over 2^d points."""
    shape = [x.shape[0], *(part for n in x.shape[1:-1] for part in (n // 2, 2)), x.shape[-1]]
    return x.reshape(shape).mean(tuple(range(2, len(shape) - 1, 2)))
