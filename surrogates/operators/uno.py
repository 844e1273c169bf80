"""U-shaped neural operator (Rahman, Ross and Azizzadenesheli, TMLR 2023): Fourier blocks on coarser and coarser grids and
back."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, number, random_key
from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ...solvers.kernels.spectral_product import spectral_convolution, spectral_map
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.layers import ACTIVATIONS, Pointwise, PointwiseMLP, SpectralConv
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .grid_frame import GridFrame, Modes, check_modes


class ResamplingBlock(eqx.Module):
    """v ↦ σ(K v + W P v) on another grid: K is a spectral convolution whose result is evaluated there, P v the field v with its
    kept frequencies there, W a pointwise map."""

    spectral: SpectralConv
    skip: Pointwise

    def __init__(self, n_in: int, n_out: int, kept: tuple[int, ...], method: Method, *, key: Array):
        k1, k2 = jax.random.split(key)
        self.spectral = SpectralConv(n_in, n_out, kept, method=method, key=k1)
        self.skip = Pointwise(n_in, n_out, key=k2)

    def __call__(self, v: Float[Array, "*reversed b i"], shape: tuple[int, ...], activate) -> Float[Array, "*out b o"]:
        weight, method = self.spectral.weight, self.spectral.method
        y = spectral_convolution(v, weight, shape=shape, method=method)
        return activate(y + self.skip(resampled(v, shape, method)))


def resampled(v: Float[Array, "*reversed b c"], shape: tuple[int, ...], method: Method) -> Float[Array, "*out b c"]:
    """The field on another grid of the same period, by the frequencies that both grids know without doubt."""
    if v.shape[:-2] == shape:
        return v
    least = [min(a, b) for a, b in zip(v.shape[:-2], shape, strict=True)]
    kept = ((least[0] - 1) // 2 + 1, *(n - (n % 2 == 0) for n in least[1:]))
    return spectral_map(v, kept, lambda z: z, shape=shape, method=method)


@register("UNO.Config")
@dataclass(frozen=True)
class UNOConfig(AbstractNetworkConfig):
    """Sizes of a `UNO`.

    **Arguments:** `width`, channels on the finest grid, doubled per level; `modes`, frequencies kept per axis and sign on the
    finest grid, halved per level; `levels`, how often the grid is halved; `padding`, zero padding after the domain as a
    fraction of it; `activation`, "gelu", "relu" or "tanh"; `method`, see `kernels.fourier`.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1 or a negative padding.

    **Example:**

        >>> sx.UNO.config(width=16).levels
        2
    """

    width: int = 32
    modes: Modes = 12
    levels: int = 2
    padding: float = 0.0
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    method: Method = "auto"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "levels"):
            count("UNO", name, vars(self)[name])
        check_modes("UNO", self.modes)
        number("UNO", "padding", self.padding, least=0)

    def build(self, signature: Signature, key: Array) -> "UShapedNetwork":
        return UShapedNetwork(self, signature, key=key)


class UShapedNetwork(AbstractNetwork):
    """The network of `UNO`, for a batch."""

    lifting: PointwiseMLP
    down: tuple[ResamplingBlock, ...]
    bottom: ResamplingBlock
    up: tuple[ResamplingBlock, ...]
    projection: PointwiseMLP
    config: UNOConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: UNOConfig, signature: Signature, *, key: Array):
        frame = GridFrame.of("UNO", signature, config.padding)
        modes = frame.per_axis("UNO", config.modes)
        levels, width, act, method = config.levels, config.width, config.activation, config.method
        keys = jax.random.split(key, 2 * levels + 3)

        def kept(level: int) -> tuple[int, ...]:
            own = [max(m // 2**level, 1) for m in modes]
            return (*(2 * m for m in own[:-1]), own[-1])

        self.lifting = PointwiseMLP(frame.channels, width, activation=act, key=keys[0])
        self.down = tuple(
            ResamplingBlock(width * 2**i, width * 2 ** (i + 1), kept(i + 1), method, key=keys[3 + i])
            for i in range(levels)
        )
        deepest = width * 2**levels
        self.bottom = ResamplingBlock(deepest, deepest, kept(levels), method, key=keys[1])
        # On its way up a level sees what came down to it as well.
        self.up = tuple(
            ResamplingBlock(2 * width * 2 ** (i + 1), width * 2**i, kept(i + 1), method, key=keys[3 + levels + i])
            for i in range(levels)
        )
        self.projection = PointwiseMLP(2 * width, 2 * width, signature.out_channels, activation=act, key=keys[2])
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, resolution_free=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        frame, activate = (
            GridFrame.of("UNO", self.signature, self.config.padding),
            ACTIVATIONS[self.config.activation],
        )
        x = frame.reversed_channels(inputs, self.projection.layers[0].weight.dtype)
        v = frame.padded(self.lifting(x))
        shapes = [tuple(-(-n // 2**i) for n in v.shape[: frame.ndim]) for i in range(self.config.levels + 1)]
        passed = [v]
        for block, shape in zip(self.down, shapes[1:], strict=True):
            v = block(v, shape, activate)
            passed.append(v)
        v = self.bottom(v, shapes[-1], activate)
        for level in range(self.config.levels)[::-1]:
            v = self.up[level](jnp.concatenate([v, passed[level + 1]], -1), shapes[level], activate)
        v = jnp.concatenate([v, passed[0]], -1)
        return frame.restored(self.projection(frame.cropped(v, x.shape[: frame.ndim]))), state


class UNO:
    """U-shaped neural operator for a task on a uniform grid. `UNO(task, key=key)` returns a `NetworkSurrogate` to train by `fit`.

    Fourier blocks bring the field to grids of half the points with twice the channels, `levels` times, and back; on the way up
    every level sees what came down to it. Blocks change grids by evaluating their Fourier series there, so that the network
    stays a map between functions: on a finer grid every level is finer.

    **Arguments:**

    - `task`: the learning problem, on a grid of one to three dimensions.
    - `width`: channels on the finest grid, 16 to 64.
    - `modes`: frequencies kept per axis and sign on the finest grid.
    - `levels`: how often the grid is halved, 1 to 3.
    - `padding`: zero padding after the domain, as a fraction of it; 0.1 to 0.3 for problems that are not periodic.
    - `key`: random key of the initial weights.
    - `details`: the other fields of `UNO.config`.

    It fails where fine structure is to be made that the input does not show: what is finer than the modes passes the pointwise
    maps alone.

    **Raises:** `ValueError` for point clouds and meshes, inputs elsewhere than the targets, and wrong settings.

    **Source:** Rahman, Ross and Azizzadenesheli, "U-NO: U-shaped neural operators", TMLR 2023.

    **Example:**

        >>> sx.count_parameters(sx.UNO(task, width=8, modes=4, levels=1, key=key))
        3553
    """

    config = UNOConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        width: int = 32,
        modes: Modes = 12,
        levels: int = 2,
        padding: float = 0.0,
        key: Array,
        **details: Any,
    ) -> NetworkSurrogate:
        config = UNOConfig(width=width, modes=modes, levels=levels, padding=padding, **details)
        return NetworkSurrogate.build(config, task, random_key("UNO", key))
