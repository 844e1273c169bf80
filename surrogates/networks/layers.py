"""Layers that neural operators share.

Layers on grids act on batches with the axes `(*reversed space, batch, c)`. This is the layout of `kernels.spectral_product`,
which needs no transposition.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ...solvers.kernels.mesh_axes import BATCH, SPACE, mean_over
from ...solvers.kernels.spectral_product import spectral_convolution


@jax.custom_jvp
def erf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The error function. Its derivative 2/√π exp(−x²) is written out here, because newer versions of JAX cannot differentiate
    `jax.lax.erf` under `shard_map`."""
    return jax.lax.erf(x)


erf.defjvps(lambda tangent, _, x: tangent * np.asarray(2 / np.sqrt(np.pi), x.dtype) * jnp.exp(-(x**2)))


@jax.checkpoint
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x Φ(x), where Φ is the distribution function of the standard normal distribution.

    It is computed by erf as in PyTorch, not by erfc as in `jax.nn.gelu`. That takes a third of the time and gives exactly 0 for
    very negative x, where erfc gives denormal numbers, which slow down later products. Training stores x only and recomputes the
    rest in the backward pass, which takes a fifth less memory and, on a CPU, up to a tenth less time.
    """
    return 0.5 * x * (1 + erf(x * np.sqrt(0.5).astype(x.dtype)))


ACTIVATIONS = {"gelu": gelu, "relu": jax.nn.relu, "tanh": jnp.tanh}


@register("Pointwise")
class Pointwise(eqx.Module):
    """y = x W + b at every point, with `weight` W `(in, out)` and `bias` b `(out,)`.

    Both are initialised uniformly in ±1/√in, as in PyTorch.
    """

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"] | None

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True, key: Array):
        k1, k2 = jax.random.split(key)
        limit = 1 / np.sqrt(n_in)
        self.weight = jax.random.uniform(k1, (n_in, n_out), minval=-limit, maxval=limit)
        self.bias = jax.random.uniform(k2, (n_out,), minval=-limit, maxval=limit) if bias else None

    def __call__(self, x: Float[Array, "*space i"]) -> Float[Array, "*space o"]:
        # The points are flattened, so that the gradient of W contracts one long axis; XLA's CPU products are slower over several.
        y = (x.reshape(-1, x.shape[-1]) @ self.weight).reshape(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


@register("PointwiseMLP")
class PointwiseMLP(eqx.Module):
    """Pointwise layers with an activation after each of them but the last.

    **Arguments:** `sizes`: channels before the first layer, between the layers and after the last; `activation`: a name of
    `ACTIVATIONS`.
    """

    layers: tuple[Pointwise, ...]
    activation: str = eqx.field(static=True)

    def __init__(self, *sizes: int, activation: str, key: Array):
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(Pointwise(a, b, key=k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True))
        self.activation = activation

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.layers[-1](x)


@register("SpectralConv")
class SpectralConv(eqx.Module):
    """(K v)(x) = Σ_k e^{2πi k·x} R_k v̂_k over the kept frequencies k: a convolution with a band-limited kernel.

    v̂_k are the Fourier coefficients of v, normalised by 1/N for N points, so that R does not depend on the resolution. The
    complex matrices R_k are stored as real arrays: `weight[..., 0, :]` is the real part and `weight[..., 1, :]` the imaginary
    part, each `(*reversed kept, in, out)`. The first axis of `weight` holds the frequencies k = 0 … m−1 of the last space axis,
    the following axes hold k = −m/2 … m/2−1 of the other space axes.

    **Arguments:**

    - `n_in`, `n_out`: channels before and after.
    - `kept`: number of frequencies kept per space axis, counting both signs on all axes but the last.
    - `bias`: whether a constant per output channel is added.
    - `init`: "normal" draws both parts of R from N(0, 1/(in + out)), as neuraloperator 2.0 does; "uniform" draws them from
      U[0, 1)/(in · out), as the original paper does.
    - `method`: how the truncated transforms are computed; see `kernels.fourier`.

    **Raises:** `ValueError` for an unknown `init`.
    """

    weight: Float[Array, "*kept i 2 o"]
    bias: Float[Array, " o"] | None
    method: Method = eqx.field(static=True)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kept: tuple[int, ...],
        *,
        bias: bool = False,
        init: str = "normal",
        method: Method = "auto",
        key: Array,
    ):
        k1, k2 = jax.random.split(key)
        shape = (*kept[::-1], n_in, 2, n_out)
        if init == "normal":
            self.weight = jax.random.normal(k1, shape) / np.sqrt(n_in + n_out)
        elif init == "uniform":
            self.weight = jax.random.uniform(k1, shape) / (n_in * n_out)
        else:
            raise ValueError(f"SpectralConv: unknown init {init!r}; use 'normal' or 'uniform'")
        self.bias = jax.random.normal(k2, (n_out,)) * np.sqrt(2 / (n_in + n_out)) if bias else None
        self.method = method

    def __call__(self, x: Float[Array, "*reversed b i"]) -> Float[Array, "*reversed b o"]:
        y = spectral_convolution(x, self.weight, method=self.method)
        return y if self.bias is None else y + self.bias


@register("BatchNorm")
class BatchNorm(eqx.Module):
    """Batch normalisation: every channel is normalised by its mean and variance over the batch and all points.

    Outside training the running mean and variance are used. They are the state `(mean, variance)`, each `(c,)`; every training
    step moves them by the fraction `momentum` (0.1) towards those of the batch.
    """

    scale: Float[Array, " c"]
    shift: Float[Array, " c"]
    momentum: float = eqx.field(static=True, default=0.1)

    def __init__(self, channels: int):
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)
        self.momentum = 0.1

    def initial_state(self):
        """Running mean 0 and running variance 1."""
        return jnp.zeros_like(self.shift), jnp.ones_like(self.scale)

    def __call__(self, x: Float[Array, "*reversed b c"], state, train: bool):
        mean, variance = state
        if train:
            axes = tuple(range(x.ndim - 1))
            mean = mean_over(x, axes, BATCH, SPACE)
            variance = mean_over((x - mean) ** 2, axes, BATCH, SPACE).reshape(-1)
            mean = mean.reshape(-1)
            state = tuple(
                (1 - self.momentum) * old + self.momentum * new
                for old, new in zip(state, (mean, variance), strict=True)
            )
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * self.scale + self.shift, state


@register("GroupNorm")
class GroupNorm(eqx.Module):
    """Every sample is normalised by its mean and variance over all points and channels, then scaled and shifted per channel."""

    scale: Float[Array, " c"]
    shift: Float[Array, " c"]

    def __init__(self, channels: int):
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, x: Float[Array, "*reversed b c"]):
        axes = (*range(x.ndim - 2), x.ndim - 1)
        x = x - mean_over(x, axes, SPACE)
        return x * jax.lax.rsqrt(mean_over(x**2, axes, SPACE) + 1e-5) * self.scale + self.shift


@register("LayerNorm")
class LayerNorm(eqx.Module):
    """Every point is normalised by mean and variance over its channels, then scaled and shifted per channel."""

    scale: Float[Array, " c"]
    shift: Float[Array, " c"]

    def __init__(self, channels: int):
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, x: Float[Array, "*points c"]):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self.scale + self.shift
