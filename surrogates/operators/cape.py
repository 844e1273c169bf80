"""CAPE: channel attention on the parameters of an equation, for any operator on grids (Takamoto, Alesiani and Niepert, ICML
2023)."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, random_key
from ...core.domains import Grid
from ...core.storage import register
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import LayerNorm, Pointwise, PointwiseMLP, SpectralConv, gelu
from ..networks.local_layers import convolved
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import FieldValues, Inputs
from ..task.signature import Signature, SourceSignature
from ..task.task import Task
from .grid_frame import GridFrame


class ParameterAttention(eqx.Module):
    """h ↦ norm(h + W₂ σ(W₁ Σ_i s_i(θ) ⊙ B_i h)): a pointwise, a depthwise and a spectral map B_i, whose channels are weighed by
    MLPs s_i of the parameters θ of the sample."""

    pointwise: Pointwise
    depthwise: Float[Array, "s c"]
    spectral: SpectralConv
    scales: tuple[PointwiseMLP, ...]
    inner: Pointwise
    outer: Pointwise
    norm: LayerNorm

    def __init__(self, config: "CAPEConfig", params: int, ndim: int, *, key: Array):
        keys, width = jax.random.split(key, 8), config.width
        self.pointwise = Pointwise(width, width, key=keys[0])
        self.depthwise = jax.random.normal(keys[1], (5**ndim, width)) / np.sqrt(5**ndim)
        kept = (*(2 * config.modes,) * (ndim - 1), config.modes)
        self.spectral = SpectralConv(width, width, kept, key=keys[2])
        self.scales = tuple(PointwiseMLP(params, width, width, activation="gelu", key=k) for k in keys[3:6])
        self.inner, self.outer = (Pointwise(width, width, key=k) for k in keys[6:])
        self.norm = LayerNorm(width)

    def __call__(self, h: Float[Array, "*reversed b c"], params: Float[Array, "b p"], grid: Grid):
        stencil = self.depthwise.reshape(*(5,) * grid.ndim, 1, -1)
        branches = (self.pointwise(h), convolved(h, stencil, grid, groups=h.shape[-1]), self.spectral(h))
        weighed = [scale(params) * branch for scale, branch in zip(self.scales, branches, strict=True)]
        return self.norm(h + self.outer(gelu(self.inner(sum(weighed[1:], weighed[0])))))


@register("CAPE.Config")
@dataclass(frozen=True)
class CAPEConfig(AbstractNetworkConfig):
    """Sizes of a `CAPE`.

    **Arguments:** `base`, the config of the operator that is conditioned, such as `FNO.config(width=32)`; `width`, channels of
    the attention; `channels`, how many channels it adds to the inputs of `base`; `modes`, frequencies of its spectral map per
    axis and sign.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1.

    **Example:**

        >>> sx.CAPE.config(sx.FNO.config(width=8)).channels
        4
    """

    base: AbstractNetworkConfig
    width: int = 32
    channels: int = 4
    modes: int = 8

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "channels", "modes"):
            count("CAPE", name, vars(self)[name])

    def build(self, signature: Signature, key: Array) -> "ConditionedNetwork":
        return ConditionedNetwork(self, signature, key=key)


class ConditionedNetwork(AbstractNetwork):
    """The network of `CAPE`, for a batch."""

    lifting: Pointwise
    attention: ParameterAttention
    out: Pointwise
    base: AbstractNetwork
    config: CAPEConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: CAPEConfig, signature: Signature, *, key: Array):
        frame = GridFrame.of("CAPE", signature, 0.0)
        if not signature.params or not signature.sources:
            raise ValueError("CAPE: the task needs parameters and input fields, or there is nothing to condition")
        k1, k2, k3, k4 = jax.random.split(key, 4)
        self.lifting = Pointwise(signature.in_channels, config.width, key=k1)
        self.attention = ParameterAttention(config, signature.params, frame.ndim, key=k2)
        self.out = Pointwise(config.width, config.channels, key=k3)
        source = signature.sources[0]
        wider = SourceSignature(source.channels + config.channels, source.domain, source.repeated)
        self.base = config.base.build(replace(signature, sources=(wider,)), k4)
        if not self.base.abilities.batched and self.base.initial_state() is not None:
            raise ValueError("CAPE: a base that predicts one sample at a time and has a state is not supported")
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, convolves=True)

    def initial_state(self) -> PyTree:
        return self.base.initial_state()

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        frame, source = GridFrame.of("CAPE", self.signature, 0.0), inputs.sources[0]
        fields, sites = source.values, source.sites
        dtype, d = self.out.weight.dtype, frame.ndim
        turned = jnp.transpose(fields.astype(dtype), (*range(1, d + 1)[::-1], 0, d + 1))
        grid = frame.grid.at_shape(fields.shape[1:-1])
        z = self.out(self.attention(self.lifting(turned), inputs.params.astype(dtype), grid))
        wider = jnp.concatenate([fields, frame.restored(z)], -1)
        given = Inputs((FieldValues(wider, sites),), inputs.params, inputs.query)
        if self.base.abilities.batched:
            return self.base(given, key=key, state=state, train=train)
        return jax.vmap(lambda one: self.base(one, key=key, state=None, train=train)[0])(given), state


class CAPE:
    """An operator on a grid that is told the parameters of its equation by channel attention. `CAPE(task, base, key=key)`
    returns a `NetworkSurrogate` to train by `fit`.

        model = sx.CAPE(task, sx.FNO.config(width=32, modes=12), key=key)

    From the input fields and the parameters θ a small network makes further input channels z of the operator `base`:
    z = Q norm(h + W₂ σ(W₁ Σ_i s_i(θ) ⊙ B_i h)), h = P a, with a pointwise, a depthwise (5 points per axis) and a spectral map
    B_i. So the weight of diffusion, transport and reaction in h can follow the parameters. `base` sees the parameters as
    constant channels too, as without CAPE.

    **Arguments:**

    - `task`: a task on a grid with input fields and parameters.
    - `base`: the config of the operator, of one sample or of batches.
    - `width`: channels of the attention, 16 to 64.
    - `channels`: channels added to the inputs of `base`, 1 to 8.
    - `modes`: frequencies of the spectral map per axis and sign, 4 to 12.
    - `key`: random key of the initial weights.

    The depthwise stencil is counted in points, so that it serves the resolution of training alone. What the paper adds in
    training, a loss that makes z itself a forecast, is not done here; `Unroll(curriculum=…)` is its curriculum.

    **Raises:** `ValueError` for clouds and meshes, and for a task without parameters or input fields.

    **Source:** Takamoto, Alesiani and Niepert, "Learning neural PDE solvers with parameter-guided channel attention", ICML 2023.

    **Example:**

        >>> with_nu = sx.from_arrays({"a": a}, {"u": a**2}, parameters={"nu": np.ones(12)}, grid=ds.grid)
        >>> told = sx.Task.fit(with_nu, inputs=("a", "nu"), targets="u")
        >>> sx.CAPE(told, sx.FNO.config(width=4, modes=4, depth=1), key=key).task.parameters
        ('nu',)
    """

    config = CAPEConfig

    @checked
    def __new__(
        cls, task: Task, base: AbstractNetworkConfig, *, width: int = 32, channels: int = 4, modes: int = 8, key: Array
    ) -> NetworkSurrogate:
        config = CAPEConfig(base=base, width=width, channels=channels, modes=modes)
        return NetworkSurrogate.build(config, task, random_key("CAPE", key))
