"""Spectral convolutions whose weights are tensors of low rank, and separable ones."""

import itertools
import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ...solvers.kernels.spectral_product import one_product, product_of_parts, spectral_map

Factorization = Literal["tucker", "cp", "tt"]
Rank = float | int | tuple[int, ...]
Pair = tuple[Array, Array]  # real and imaginary part


@register("FactorizedSpectralConv")
class FactorizedSpectralConv(eqx.Module):
    """`SpectralConv` with weights R of low rank, which are never put together. With the axes (in, out, k_1, …, k_d):

    - "tucker": R = Σ C_{abc…} U_ia V_ob W¹_{k₁c} …, a small core C and a factor per axis;
    - "cp": R = Σ_r λ_r U_ir V_or W¹_{k₁r} …;
    - "tt": R = Σ G⁰_{ia} G¹_{aob} G²_{bk₁c} …, a chain of cores.

    Coefficients are first brought to the ranks of the channels, multiplied per frequency there, and brought back. Of the
    weights no more is formed than one array per frequency of the size of these ranks (for "tt" rank times output channels).

    Factors are stored as real arrays, with real and imaginary part along the last axis, in the order of neuraloperator: for
    "tucker" the core `(a, b, c, …, 2)` first, for "cp" the numbers λ `(r, 2)`, then a factor per axis `(size, rank, 2)`, for "tt"
    `(rank, size, rank, 2)`. Frequencies are those of `SpectralConv`, in the order of the space axes.

    **Arguments:** `n_in`, `n_out`, `kept`, `bias`, `method` are those of `SpectralConv`; `factorization`; `rank`, the share of
    the parameters of a dense weight (0.05 to 0.5), or the ranks themselves, see `ranks_of`. Entries of R have at the start the
    deviation of a dense weight.
    """

    factors: tuple[Float[Array, "..."], ...]
    bias: Float[Array, " o"] | None
    factorization: Factorization = eqx.field(static=True)
    kept: tuple[int, ...] = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def __init__(
        self, n_in: int, n_out: int, kept: tuple[int, ...], *, factorization: Factorization, rank: Rank,
        bias: bool = False, method: Method = "auto", key: Array,
    ):  # fmt: skip
        k1, k2 = jax.random.split(key)
        dims = (n_in, n_out, *kept)
        ranks = ranks_of(dims, factorization, rank)
        shapes = factor_shapes(dims, factorization, ranks)
        terms, drawn = math.prod(ranks), len(shapes) - (factorization == "cp")
        # One part of an entry of R is to have the variance 1/(in + out).
        std = (2 / (n_in + n_out) / terms) ** (0.5 / drawn) / np.sqrt(2)
        keys = jax.random.split(k1, len(shapes))
        factors = [std * jax.random.normal(k, (*shape, 2)) for k, shape in zip(keys, shapes, strict=True)]
        if factorization == "cp":
            factors[0] = jnp.stack([jnp.ones(ranks[0]), jnp.zeros(ranks[0])], -1)
        self.factors = tuple(factors)
        self.bias = jax.random.normal(k2, (n_out,)) * np.sqrt(2 / (n_in + n_out)) if bias else None
        self.factorization, self.kept, self.method = factorization, kept, method

    def __call__(self, x: Float[Array, "*reversed b i"]) -> Float[Array, "*reversed b o"]:
        return self.formed()(x)

    def formed(self) -> "FormedSpectralConv":
        """The same layer with what depends on its factors alone computed."""
        form = {"tucker": self._tucker, "cp": self._cp, "tt": self._train}[self.factorization]
        return FormedSpectralConv(*form(), bias=self.bias, kept=self.kept, method=self.method)

    def dense(self) -> Float[Array, "*kept i 2 o"]:
        """The weight of the `SpectralConv` that computes the same."""
        chain = self.factorization == "tt"
        n_in = self.factors[0].shape[1] if chain else self.factors[1].shape[0]
        unit = jnp.broadcast_to(jnp.eye(n_in), (*self.kept[::-1], n_in, n_in))
        return jnp.swapaxes(self.formed().multiply(jnp.stack([unit, jnp.zeros_like(unit)], -3)), -3, -2)

    def _tucker(self):
        core, u, v, *modes = self.factors
        n_in, n_out, *ranks, _ = core.shape
        # The last axis of the core lies in memory as the product with its factor reads it.
        weight = _real_matrix(modes[-1], 2, 3) @ core.reshape(-1, 2 * ranks[-1]).T
        weight = weight.reshape(self.kept[-1], 2, n_in * n_out, *ranks[:-1])
        weight = jnp.transpose(weight, (0, 1, *range(3, weight.ndim)[::-1], 2))
        for number, factor in enumerate(modes[-2::-1], start=1):  # (*kept, 2, rank, …, in · out)
            matrix, front = _real_matrix(factor, 3, 2), math.prod(weight.shape[:number])
            product = jnp.broadcast_to(matrix, (front, *matrix.shape)) @ weight.reshape(front, matrix.shape[1], -1)
            weight = product.reshape(*weight.shape[:number], len(factor), 2, *weight.shape[number + 2 :])
        weight = weight.reshape(*self.kept[::-1], 2, n_in, n_out)
        return _matrix(_pair(u)), weight, _matrix(_transposed(_pair(v)))

    def _cp(self):
        weights, u, v, *modes = map(_pair, self.factors)
        scale = weights
        for factor in modes:
            scale = _product("...r,kr->k...r", scale, factor)
        return _matrix(u), scale, _matrix(_transposed(v))

    def _train(self):
        first, second, *modes = map(_pair, self.factors)
        tail: Pair = (modes[-1][0][..., 0], modes[-1][1][..., 0])  # (rank, k_d)
        for core in modes[-2::-1]:
            tail = _product("akb,b...->a...k", core, tail)
        # (rank, k_d, …, k_1), as every core puts its frequencies last.
        weight = _product("aob,b...->...ao", second, tail)
        return _matrix((first[0][0], first[1][0])), jnp.stack(weight, -3), None


class FormedSpectralConv(eqx.Module):
    """v̂_k ↦ B R_k A v̂_k per frequency, from the channels to a rank and back. R_k are matrices `(*reversed kept, 2, r, s)`, real
    parts first, or numbers per channel of the rank, a pair of parts `(*reversed kept, r)`; without B they lead back."""

    before: Float[Array, "i 2 r"]
    weight: Float[Array, "*kept 2 r s"] | Pair
    after: Float[Array, "s 2 o"] | None
    bias: Float[Array, " o"] | None
    kept: tuple[int, ...] = eqx.field(static=True)
    method: Method = eqx.field(static=True)

    def __call__(self, x: Float[Array, "*reversed b i"]) -> Float[Array, "*reversed b o"]:
        y = spectral_map(x, self.kept[::-1], self.multiply, method=self.method)
        return y if self.bias is None else y + self.bias

    def multiply(self, z: Float[Array, "*kept 2 b i"]) -> Float[Array, "*kept 2 b o"]:
        low = one_product(z, self.before)
        low = _scaled(low, self.weight) if isinstance(self.weight, tuple) else product_of_parts(low, self.weight)
        return low if self.after is None else one_product(low, self.after)


def with_formed_weights(network: Any) -> Any:
    """A network that computes the same, in which every `FactorizedSpectralConv` is formed: for several calls in a row."""
    factorized = lambda node: isinstance(node, FactorizedSpectralConv)  # noqa: E731
    return jax.tree.map(lambda node: node.formed() if factorized(node) else node, network, is_leaf=factorized)


@register("SeparableSpectralConv")
class SeparableSpectralConv(eqx.Module):
    """`SpectralConv` that multiplies every channel by itself, with numbers R_k per channel: `weight` `(*reversed kept, 2, c)`."""

    weight: Float[Array, "*kept 2 c"]
    bias: Float[Array, " c"] | None
    method: Method = eqx.field(static=True)

    def __init__(
        self, channels: int, kept: tuple[int, ...], *, bias: bool = False, method: Method = "auto", key: Array
    ):
        k1, k2 = jax.random.split(key)
        self.weight = jax.random.normal(k1, (*kept[::-1], 2, channels)) / np.sqrt(2)
        self.bias = jax.random.normal(k2, (channels,)) / np.sqrt(channels) if bias else None
        self.method = method

    def __call__(self, x: Float[Array, "*reversed b c"]) -> Float[Array, "*reversed b c"]:
        scale = self.weight[..., 0, :], self.weight[..., 1, :]
        y = spectral_map(x, self.weight.shape[:-2], lambda z: _scaled(z, scale), method=self.method)
        return y if self.bias is None else y + self.bias


def ranks_of(dims: tuple[int, ...], factorization: Factorization, rank: Rank) -> tuple[int, ...]:
    """The ranks of a tensor with these sizes: of the core for "tucker" (one per axis), one number for "cp", those between the
    cores for "tt" (one less than axes). A fraction gives the largest ranks, alike for all axes, with at most that share of the
    parameters of the full tensor; at least 1.

    **Raises:** `ValueError` for a rank that is not positive, or another number of ranks.
    """
    if isinstance(rank, tuple | int):
        wanted = {"tucker": len(dims), "cp": 1, "tt": len(dims) - 1}[factorization]
        ranks = (rank,) * (1 if factorization == "cp" else wanted) if isinstance(rank, int) else rank
        if len(ranks) != wanted or min(ranks) < 1:
            raise ValueError(f"rank={rank}: {factorization!r} of {len(dims)} axes needs {wanted} positive ranks")
        return ranks
    if not 0 < rank <= 1:
        raise ValueError(f"rank={rank}: expected a share of the parameters, above 0 and up to 1, or whole numbers")
    allowed = rank * math.prod(dims)
    if factorization == "cp":
        return (max(round(allowed / sum(dims)), 1),)
    best = (1,) * (len(dims) - (factorization == "tt"))
    for step in range(1, max(dims) * (1 if factorization == "tucker" else max(dims)) + 1):
        if factorization == "tucker":
            ranks = tuple(max(round(step / max(dims) * n), 1) for n in dims)
        else:
            ranks = tuple(min(step, math.prod(dims[: i + 1]), math.prod(dims[i + 1 :])) for i in range(len(dims) - 1))
        if sum(math.prod(shape) for shape in factor_shapes(dims, factorization, ranks)) > allowed:
            break
        best = ranks
    return best


def factor_shapes(dims: tuple[int, ...], factorization: Factorization, ranks: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Shapes of the complex factors, in the order of `FactorizedSpectralConv.factors`."""
    if factorization == "tucker":
        return [ranks, *zip(dims, ranks, strict=True)]
    if factorization == "cp":
        return [ranks, *((n, ranks[0]) for n in dims)]
    return [(a, n, b) for n, (a, b) in zip(dims, itertools.pairwise((1, *ranks, 1)), strict=True)]


def _pair(factor: Float[Array, "... 2"]) -> Pair:
    return factor[..., 0], factor[..., 1]


def _transposed(pair: Pair) -> Pair:
    return pair[0].T, pair[1].T


def _matrix(pair: Pair) -> Float[Array, "i 2 o"]:
    return jnp.stack(pair, 1)


def _product(spec: str, a: Pair, b: Pair) -> Pair:
    """A sum of products of complex arrays, as `einsum`."""
    e = jnp.einsum
    return e(spec, a[0], b[0]) - e(spec, a[1], b[1]), e(spec, a[0], b[1]) + e(spec, a[1], b[0])


def _real_matrix(factor: Float[Array, "k c 2"], rank: int, part: int) -> Float[Array, "2k 2c"]:
    """The complex matrix as a real one, with rows (frequency, part) and columns (rank, part) or (part, rank), in the order of the
    two numbers, which are 2 and 3."""
    re, im = _pair(factor)
    four = jnp.stack([jnp.stack([re, -im]), jnp.stack([im, re])])  # (part out, part in, k, c)
    return jnp.transpose(four, (2, 0, 3, 1) if rank < part else (2, 0, 1, 3)).reshape(2 * re.shape[0], -1)


def _scaled(z: Float[Array, "*kept 2 b c"], scale: Pair) -> Float[Array, "*kept 2 b c"]:
    """Every channel of the coefficients times a complex number per frequency, `(*kept, c)`."""
    re, im = (part[..., None, :] for part in scale)
    a, b = z[..., 0, :, :], z[..., 1, :, :]
    return jnp.stack([a * re - b * im, a * im + b * re], -3)
