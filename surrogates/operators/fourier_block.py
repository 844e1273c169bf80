"""The block of Fourier neural operators: a spectral layer of some form, a pointwise map, and local layers."""

from typing import TYPE_CHECKING, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import Grid
from ..networks.basis_convolution import BasisConv
from ..networks.factorized import FactorizedSpectralConv, SeparableSpectralConv
from ..networks.layers import BatchNorm, GroupNorm, Pointwise, PointwiseMLP, SpectralConv
from ..networks.local_layers import DifferentialStencil, IntegralStencil

if TYPE_CHECKING:
    from .fno import FNOConfig

Boundary = Literal["periodic", "dirichlet", "neumann", "chebyshev"]
Local = Literal["differential", "integral"]
Spectral = SpectralConv | FactorizedSpectralConv | SeparableSpectralConv | BasisConv


class Block(eqx.Module):
    """One Fourier block: v ↦ σ(norm(K v + W v + L v)), or with channel MLP v ↦ σ(MLP(σ(norm(K v + W v + L v))) + g ⊙ v).

    K is a spectral convolution, W a pointwise linear map, L the sum of the local layers, g a trained gate per channel and σ the
    activation. The last block has no σ outside the MLP. With `stabilise` K acts on tanh v.
    """

    spectral: Spectral
    skip: Pointwise
    local: tuple[DifferentialStencil | IntegralStencil, ...]
    norm: BatchNorm | GroupNorm | None
    channel_mlp: PointwiseMLP | None
    gate: Float[Array, " c"] | None
    stabilise: bool = eqx.field(static=True)

    def __init__(self, config: "FNOConfig", kept: tuple[int, ...], grid: Grid, *, key: Array):
        k1, k2, k3 = jax.random.split(key, 3)
        width = config.width
        self.spectral, self.stabilise = _spectral(config, kept, key=k1), config.stabilise
        self.skip = Pointwise(width, width, bias=config.skip_bias, key=k2)
        kinds = {"differential": DifferentialStencil, "integral": IntegralStencil}
        self.local = tuple(
            kinds[kind](width, width, grid, key=jax.random.fold_in(k2, i)) for i, kind in enumerate(config.local)
        )
        self.norm = {"batch": BatchNorm, "group": GroupNorm, None: lambda _: None}[config.norm](width)
        self.channel_mlp = self.gate = None
        if config.channel_mlp is not None:
            hidden = round(config.channel_mlp * width)
            self.channel_mlp = PointwiseMLP(width, hidden, width, activation=config.activation, key=k3)
            self.gate = jnp.ones(width)

    def __call__(self, v, activate, last: bool, state, train: bool, grid: Grid):
        """`grid` is that of the inputs, without padding; layers in real bases and local ones read it."""
        own, seen = self.spectral, jnp.tanh(v) if self.stabilise else v
        y = (own(seen, grid) if isinstance(own, BasisConv) else own(seen)) + self.skip(v)
        for layer in self.local:
            y = y + layer(v, grid)
        if isinstance(self.norm, BatchNorm):
            y, state = self.norm(y, state, train)
        elif self.norm is not None:
            y = self.norm(y)
        y = y if last else activate(y)
        if self.channel_mlp is not None:
            y = self.channel_mlp(y) + self.gate * v
            y = y if last else activate(y)
        return y, state


def _spectral(config: "FNOConfig", kept: tuple[int, ...], *, key: Array) -> Spectral:
    """The spectral layer of a block, from `width` to `width` channels."""
    width, bias = config.width, config.spectral_bias
    if config.boundary != "periodic":
        return BasisConv(width, width, kept, basis=config.boundary, bias=bias, key=key)
    if config.separable:
        return SeparableSpectralConv(width, kept, bias=bias, method=config.method, key=key)
    if config.factorization is not None:
        return FactorizedSpectralConv(
            width, width, kept, factorization=config.factorization, rank=config.rank, bias=bias, method=config.method, key=key
        )  # fmt: skip
    return SpectralConv(width, width, kept, bias=bias, init=config.init, method=config.method, key=key)
