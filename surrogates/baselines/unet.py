"""`UNet`: a small U-Net in flax (Ronneberger, Fischer and Brox 2015), the convolutional baseline of operators on grids."""

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from ...core.arguments import check_fields, checked, count, number, random_key
from ...core.storage import register
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.network_surrogate import NetworkSurrogate
from ..operators.grid_frame import GridFrame, grid_channels
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from ..trainable import Buffer


@register("UNet.Config")
@dataclass(frozen=True)
class UNetConfig(AbstractNetworkConfig):
    """Sizes of a `UNet`.

    **Arguments:** `width`, channels on the finest grid, doubled per level; `levels`, how often the grid is halved; `norm`,
    "batch" or None; `dropout`, the share of channels' values that are dropped in training.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1, or a dropout outside [0, 1).

    **Example:**

        >>> sx.UNet.config(width=8).levels
        2
    """

    width: int = 32
    levels: int = 2
    norm: Literal["batch"] | None = "batch"
    dropout: float = 0.0

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("width", "levels"):
            count("UNet", name, vars(self)[name])
        number("UNet", "dropout", self.dropout, least=0, below=1)

    def build(self, signature: Signature, key: Array) -> "ConvolutionalNetwork":
        return ConvolutionalNetwork(self, signature, key=key)


class ConvolutionalNetwork(AbstractNetwork):
    """The network of `UNet`, for a batch: a flax module, split into its parameters, its running statistics and its graph."""

    params: PyTree
    statistics: Buffer
    graph: Any = eqx.field(static=True)
    structure: Any = eqx.field(static=True)
    config: UNetConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: UNetConfig, signature: Signature, *, key: Array):
        from flax import nnx

        from .unet_module import UNetModule  # importing flax is slow

        frame = GridFrame.of("UNet", signature, 0.0)
        module = UNetModule(
            frame.channels, signature.out_channels, config.width, config.levels, frame.grid.periodic, norm=config.norm == "batch",
            dropout=config.dropout, rngs=nnx.Rngs(key),
        )  # fmt: skip
        self.graph, self.params, statistics = nnx.split(module, nnx.Param, ...)
        # As a tuple of arrays the statistics have a form in a file.
        leaves, self.structure = jax.tree.flatten(statistics)
        self.statistics = Buffer(tuple(leaves))
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, convolves=True)

    def initial_state(self) -> PyTree:
        """Running means 0 and variances 1; None without batch normalisation."""
        return self.statistics.value or None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        from flax import nnx

        from .unet_module import UNetModule

        x = grid_channels(inputs, jax.tree.leaves(self.params)[0].dtype)
        held = self.statistics.value if state is None else state
        held = jax.tree.unflatten(self.structure, held)
        module: UNetModule = nnx.merge(self.graph, self.params, held, copy=True)
        module.train() if train else module.eval()
        y = module(x, None if key is None else nnx.Rngs(dropout=key))
        return y, (None if state is None else tuple(jax.tree.leaves(nnx.split(module, nnx.Param, ...)[2])))


class UNet:
    """A small U-Net for a task on a uniform grid: `UNet(task, key=key)` returns a `NetworkSurrogate` to train by `fit`.

    Two convolutions of width 3 with batch normalisation and GELU per level; means over 2^d points on the way down, nearest
    values on the way up, joined with what came down. Convolutions wrap around along periodic axes and continue fields by zeros
    elsewhere; sizes that are no multiple of 2^`levels` are filled up inside. Written in flax; batch statistics are the
    surrogate's state.

    **Arguments:** `task`, on a grid of one to three dimensions; `width`, channels on the finest grid, 16 to 64, doubled per
    level; `levels`, how often the grid is halved, 2 to 4; `norm`, "batch" or None; `dropout`, 0 to 0.2; `key`, the random key
    of the initial weights. `UNet.config(width=…)` makes the frozen config only.

    Its stencils are counted in points: it serves the resolution of training alone.

    **Raises:** `ValueError` for point clouds and meshes, and for wrong settings.

    **Source:** Ronneberger, Fischer and Brox, MICCAI 2015.

    **Example:**

        >>> sx.count_parameters(sx.UNet(task, width=4, levels=1, key=key))
        621
    """

    config = UNetConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        width: int = 32,
        levels: int = 2,
        norm: Literal["batch"] | None = "batch",
        dropout: float = 0.0,
        key: Array,
    ) -> NetworkSurrogate:
        config = UNetConfig(width=width, levels=levels, norm=norm, dropout=dropout)
        return NetworkSurrogate.build(config, task, random_key("UNet", key))
