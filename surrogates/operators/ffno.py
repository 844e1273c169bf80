"""Factorised Fourier neural operator (Tran et al., ICLR 2023): one Fourier layer per axis, deep residual blocks."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, number, random_key
from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import PointwiseMLP, SpectralConv
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .grid_frame import GridFrame, Modes, check_modes


class AxisBlock(eqx.Module):
    """v ↦ v + MLP(Σ_a K_a v), where K_a is a spectral convolution along the axis a alone."""

    spectral: tuple[SpectralConv, ...]
    mlp: PointwiseMLP

    def __init__(self, config: "FFNOConfig", kept: tuple[int, ...], *, key: Array):
        keys, width = jax.random.split(key, len(kept) + 1), config.width
        self.spectral = tuple(
            SpectralConv(width, width, (m,), method=config.method, key=k) for m, k in zip(kept, keys[1:], strict=True)
        )
        hidden = round(config.expansion * width)
        self.mlp = PointwiseMLP(width, hidden, width, activation=config.activation, key=keys[0])

    def __call__(self, v: Float[Array, "*reversed b c"]) -> Float[Array, "*reversed b c"]:
        d = len(self.spectral)
        total = jnp.zeros_like(v)
        for axis, layer in enumerate(self.spectral):
            place = d - 1 - axis  # space is stored in reversed order
            front = jnp.moveaxis(v, place, 0)
            flat = front.reshape(len(front), -1, v.shape[-1])
            total = total + jnp.moveaxis(layer(flat).reshape(front.shape), 0, place)
        return v + self.mlp(total)


@register("FFNO.Config")
@dataclass(frozen=True)
class FFNOConfig(AbstractNetworkConfig):
    """Sizes of an `FFNO`.

    **Arguments:** `width`, channels; `modes`, frequencies kept per axis, one number or one per axis; `depth`, number of blocks;
    `padding`, width of the zero padding after the domain as a fraction of it; `expansion`, the hidden width of the MLP in every
    block as a multiple of `width`; `activation`, "gelu", "relu" or "tanh"; `method`, see `kernels.fourier`.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1 or a negative padding.

    **Example:**

        >>> sx.FFNO.config(width=32).depth
        4
    """

    width: int = 64
    modes: Modes = 16
    depth: int = 4
    padding: float = 0.0
    expansion: float = 2.0
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    method: Method = "auto"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "depth"):
            count("FFNO", name, vars(self)[name])
        check_modes("FFNO", self.modes)
        number("FFNO", "padding", self.padding, least=0)
        if round(number("FFNO", "expansion", self.expansion, above=0) * self.width) < 1:
            raise ValueError(f"FFNO: expansion={self.expansion} of width {self.width} leaves no hidden channel")

    def build(self, signature: Signature, key: Array) -> "AxisNetwork":
        return AxisNetwork(self, signature, key=key)


class AxisNetwork(AbstractNetwork):
    """The network of `FFNO`, for a batch."""

    lifting: PointwiseMLP
    blocks: tuple[AxisBlock, ...]
    projection: PointwiseMLP
    config: FFNOConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: FFNOConfig, signature: Signature, *, key: Array):
        frame = GridFrame.of("FFNO", signature, config.padding)
        kept = frame.per_axis("FFNO", config.modes)
        keys, width, act = jax.random.split(key, config.depth + 2), config.width, config.activation
        self.lifting = PointwiseMLP(frame.channels, width, activation=act, key=keys[0])
        self.projection = PointwiseMLP(width, 2 * width, signature.out_channels, activation=act, key=keys[1])
        self.blocks = tuple(AxisBlock(config, kept, key=k) for k in keys[2:])
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, resolution_free=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        frame = GridFrame.of("FFNO", self.signature, self.config.padding)
        x = frame.reversed_channels(inputs, self.projection.layers[0].weight.dtype)
        v = frame.padded(self.lifting(x))
        for block in self.blocks:
            v = block(v)
        return frame.restored(self.projection(frame.cropped(v, x.shape[: frame.ndim]))), state


class FFNO:
    """Factorised Fourier neural operator for a task on a uniform grid. `FFNO(task, key=key)` returns a `NetworkSurrogate`.

    v_{l+1} = v_l + MLP(Σ_a K_a v_l), where K_a convolves along the axis a alone: its weights grow with the sum of the modes
    per axis and not with their product, so that many modes and blocks are affordable.

    **Arguments:**

    - `task`: the learning problem, on a grid of one to three dimensions.
    - `width`: channels, 32 to 64.
    - `modes`: frequencies kept per axis, a third to two thirds of the n/2 of the grid.
    - `depth`: blocks, 4 to 24; the residual form trains well when deep.
    - `padding`: zero padding after the domain, as a fraction of it; 0.1 to 0.3 for problems that are not periodic.
    - `key`: random key of the initial weights.
    - `details`: the other fields of `FFNO.config`.

    It fails on kernels that couple the axes, such as sharp oblique fronts, where it needs more blocks than an `FNO`.

    **Raises:** `ValueError` for point clouds and meshes, inputs elsewhere than the targets, and wrong settings.

    **Source:** Tran, Mathews, Xie and Ong, "Factorized Fourier neural operators", ICLR 2023, equations 7 and 8. Ours does not
    share weights between blocks.

    **Example:**

        >>> sx.count_parameters(sx.FFNO(task, width=8, modes=6, depth=2, key=key))
        2281
    """

    config = FFNOConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        width: int = 64,
        modes: Modes = 16,
        depth: int = 4,
        padding: float = 0.0,
        key: Array,
        **details: Any,
    ) -> NetworkSurrogate:
        config = FFNOConfig(width=width, modes=modes, depth=depth, padding=padding, **details)
        return NetworkSurrogate.build(config, task, random_key("FFNO", key))
