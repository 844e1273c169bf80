"""Networks as trial functions: perceptrons, gated perceptrons, PirateNets, and separable networks."""

import itertools
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...solvers.kernels.gaussian_sums import taylor
from ..trainable import Buffer
from .trial_functions import AbstractTrialFunction, Coordinates, Orders

Activation = Literal["tanh", "sine"]


class Dense(eqx.Module):
    """z ↦ W z + b. With weight factorisation the rows of W are stored as exp(s) times a vector (Wang et al. 2022)."""

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]
    scale: Float[Array, " out"] | None

    def __init__(self, n_in: int, n_out: int, factorised: bool, *, key: Array, bound: float | None = None):
        k_weight, k_scale = jax.random.split(key)
        if bound is None:
            self.weight = np.sqrt(2 / (n_in + n_out)) * jax.random.normal(k_weight, (n_out, n_in))
        else:
            self.weight = jax.random.uniform(k_weight, (n_out, n_in), minval=-bound, maxval=bound)
        self.bias, self.scale = jnp.zeros(n_out), None
        if factorised:
            self.scale = 1 + 0.1 * jax.random.normal(k_scale, (n_out,))
            self.weight = self.weight / jnp.exp(self.scale)[:, None]

    def __call__(self, z: Float[Array, " in"]) -> Float[Array, " out"]:
        y = self.weight @ z
        return (y if self.scale is None else jnp.exp(self.scale) * y) + self.bias


class Embedding(eqx.Module):
    """What a network sees of a point: its coordinates z, or cos B z and sin B z with fixed normal B (Tancik et al. 2020)."""

    coordinates: Coordinates
    frequencies: Buffer | None

    def __init__(self, coordinates: Coordinates, fourier: int, scale: float, *, key: Array):
        self.coordinates = coordinates
        draws = scale * np.asarray(jax.random.normal(key, (fourier, coordinates.size)))
        self.frequencies = Buffer(draws) if fourier else None

    @property
    def size(self) -> int:
        return self.coordinates.size if self.frequencies is None else 2 * len(self.frequencies.value)

    def __call__(self, point: Float[Array, " d"]) -> Float[Array, " size"]:
        z = self.coordinates(point)
        if self.frequencies is None:
            return z
        angles = jnp.asarray(self.frequencies.value, z.dtype) @ z
        return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)])


class MLP(AbstractTrialFunction):
    """A perceptron z ↦ W σ(… σ(W z + b) …) + b of an embedded point, with σ = tanh, or σ(y) = sin ω y (SIREN, Sitzmann et al.
    2020, with its initial weights)."""

    embedding: Embedding
    layers: list[Dense]
    frequency: float = eqx.field(static=True)  # ω; 0 stands for tanh

    def __init__(
        self, embedding: Embedding, out: int, width: int, depth: int, factorised: bool, frequency: float, *, key: Array
    ):
        sizes, self.embedding, self.frequency = [embedding.size, *[width] * depth, out], embedding, frequency
        keys = jax.random.split(key, len(sizes))
        self.layers = []
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            bound = (np.sqrt(6 / n_in) / frequency if i else 1 / n_in) if frequency else None
            self.layers.append(Dense(n_in, n_out, factorised, key=keys[i], bound=bound))

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        return self._value

    def _value(self, point: Float[Array, " d"]) -> Float[Array, " out"]:
        z = self.embedding(point)
        for layer in self.layers[:-1]:
            y = layer(z)
            z = jnp.sin(self.frequency * y) if self.frequency else jnp.tanh(y)
        return self.layers[-1](z)


class ModifiedMLP(AbstractTrialFunction):
    """A perceptron whose layers are gated by two encoders of the point, z ← f ⊙ U + (1 − f) ⊙ V with f = tanh(W z + b) (Wang,
    Teng & Perdikaris 2021)."""

    embedding: Embedding
    encoders: tuple[Dense, Dense]
    layers: list[Dense]

    def __init__(self, embedding: Embedding, out: int, width: int, depth: int, factorised: bool, *, key: Array):
        keys = jax.random.split(key, depth + 3)
        self.embedding, size = embedding, embedding.size
        first, second = (Dense(size, width, factorised, key=k) for k in keys[:2])
        self.encoders = (first, second)
        sizes = [size, *[width] * depth, out]
        self.layers = [
            Dense(a, b, factorised, key=k) for (a, b), k in zip(itertools.pairwise(sizes), keys[2:], strict=True)
        ]

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        return self._value

    def _value(self, point: Float[Array, " d"]) -> Float[Array, " out"]:
        z = self.embedding(point)
        first, second = (jnp.tanh(encoder(z)) for encoder in self.encoders)
        for layer in self.layers[:-1]:
            z = _gated(jnp.tanh(layer(z)), first, second)
        return self.layers[-1](z)


class PirateNet(AbstractTrialFunction):
    """Residual blocks z ← α f + (1 − α) z of three layers, of which two are gated as in `ModifiedMLP`. Each α is trained and is 0
    at first, so that the network is linear in the embedding of the point then and grows deeper by training (Wang et al. 2024).

    `depth` counts the blocks. The embedding must have the width of the blocks.
    """

    embedding: Embedding
    encoders: tuple[Dense, Dense]
    blocks: list[tuple[Dense, Dense, Dense]]
    shares: Float[Array, " depth"]
    last: Dense

    def __init__(self, embedding: Embedding, out: int, depth: int, factorised: bool, *, key: Array):
        keys = jax.random.split(key, 3 * depth + 3)
        self.embedding, size = embedding, embedding.size
        made = [Dense(size, size, factorised, key=k) for k in keys[:-1]]
        self.encoders = (made[0], made[1])
        self.blocks = [(made[i], made[i + 1], made[i + 2]) for i in range(2, 3 * depth + 2, 3)]
        self.shares, self.last = jnp.zeros(depth), Dense(size, out, factorised, key=keys[-1])

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        return self._value

    def _value(self, point: Float[Array, " d"]) -> Float[Array, " out"]:
        z = self.embedding(point)
        first, second = (jnp.tanh(encoder(z)) for encoder in self.encoders)
        for share, (one, two, three) in zip(self.shares, self.blocks, strict=True):
            f = _gated(jnp.tanh(one(z)), first, second)
            f = _gated(jnp.tanh(two(f)), first, second)
            z = share * jnp.tanh(three(f)) + (1 - share) * z
        return self.last(z)


class Separable(AbstractTrialFunction):
    """Σ_r ∏_i f_ir(x_i): a perceptron per coordinate with `rank` outputs per unknown (SPINN, Cho et al. 2023).

    A derivative needs those of the perceptrons along their own coordinates alone, which are computed once for all of them.
    """

    networks: list[MLP]
    rank: int = eqx.field(static=True)

    def __init__(self, coordinates: Coordinates, out: int, rank: int, width: int, depth: int, *, key: Array):
        self.networks, self.rank = [], rank
        for span, k in zip(coordinates.spans, jax.random.split(key, len(coordinates.spans)), strict=True):
            one = Embedding(Coordinates((span,), coordinates.harmonics), 0, 1.0, key=k)
            self.networks.append(MLP(one, out * rank, width, depth, False, 0.0, key=k))

    def near(self, point: Float[Array, " d"], orders: Orders) -> Callable[[Array], Array]:
        orders = (*orders, *(0,) * (len(self.networks) - len(orders)))
        tables = []
        for i, (network, order) in enumerate(zip(self.networks, orders, strict=True)):
            function, found = (lambda x, network=network: network._value(x[None])), {}
            for n in range(order + 1):
                found[(n,)] = function(point[i])
                function = _slope(function)
            tables.append(found)

        def value(z):
            product = jnp.ones(())
            for i, table in enumerate(tables):
                product = product * taylor(table, (z - point)[i : i + 1])
            return product.reshape(-1, self.rank).sum(1)

        return value


def _gated(f: Array, first: Array, second: Array) -> Array:
    return f * first + (1 - f) * second


def _slope(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]
