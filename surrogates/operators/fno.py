"""Fourier neural operator (Li et al., ICLR 2021) in one to three dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ...core.arguments import check_fields, checked, number, random_key
from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ...solvers.kernels.mesh_axes import SPACE
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.factorized import Factorization, Rank, with_formed_weights
from ..networks.layers import ACTIVATIONS, BatchNorm, PointwiseMLP
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .fourier_block import Block, Boundary, Local
from .grid_frame import GridFrame, grid_channels
from .on_devices import axes_to_divide, in_parts, over_devices, part_for_caches

# Details of the original paper's network (with the batch normalisation that its published parameter counts include), and of
# neuraloperator 2.0 at its defaults. Use: `FNO(task, **ORIGINAL, key=key)`.
ORIGINAL: Mapping[str, Any] = dict(
    lifting=(), projection=(128,), channel_mlp=None, skip_bias=True, spectral_bias=False, norm="batch",
    activation="relu", init="uniform",
)  # fmt: skip
NEURALOPERATOR: Mapping[str, Any] = dict(
    lifting=2.0, projection=2.0, channel_mlp=0.5, skip_bias=False, spectral_bias=True, norm=None,
    activation="gelu", init="normal", padding_side="both",
)  # fmt: skip

_CHOICES: Mapping[str, tuple] = dict(
    norm=("batch", "group", None), activation=tuple(ACTIVATIONS), init=("normal", "uniform"),
    padding_side=("end", "both"), method=get_args(Method), factorization=(*get_args(Factorization), None),
    boundary=get_args(Boundary),
)  # fmt: skip


@register("FNO.Config")
@dataclass(frozen=True)
class FNOConfig(AbstractNetworkConfig):
    """Sizes and details of a Fourier neural operator; the defaults are this library's network. See `FNO`.

    **Arguments:**

    - `width`: number of channels, 20 to 64.
    - `modes`: frequencies kept per axis and sign; one number, or one per axis.
    - `depth`: number of blocks; 4 is usual.
    - `padding`: width of the zero padding, as a fraction of the domain; one number, or one per axis (in a space-time task time
      is the first axis).
    - `padding_side`: "end" pads after the domain, so that the padded period is the same at every resolution; "both" pads before
      and after it, as neuraloperator does.
    - `lifting`, `projection`: hidden layers of the pointwise MLPs before and after the blocks: a tuple of widths (`()` for a
      linear map), or one number, the width of a single hidden layer as a multiple of `width`.
    - `channel_mlp`: hidden width of the MLP in every block as a multiple of `width`; None for blocks without MLP.
    - `skip_bias`, `spectral_bias`: whether the pointwise map and the spectral convolution of a block have a bias.
    - `norm`: normalisation in every block: "batch", "group" or None.
    - `activation`: "gelu", "relu" or "tanh".
    - `init`: how spectral weights are initialised, "normal" or "uniform"; see `SpectralConv`.
    - `method`: how truncated transforms are computed; see `kernels.fourier`.
    - `remat`: recompute the blocks in the backward pass, which needs less memory and a third more time.
    - `boundary`: the basis of the spectral layers: "periodic" is Fourier's; "dirichlet" sines, "neumann" cosines and "chebyshev"
      polynomials, `modes` of them per axis, see `BasisConv`.
    - `factorization`: "tucker", "cp" or "tt" for spectral weights of low rank (TFNO), see `FactorizedSpectralConv`; `rank` is the
      share of the parameters of dense weights that they have, or whole numbers, the ranks themselves.
    - `separable`: whether a spectral layer multiplies every channel by itself; the pointwise maps alone mix channels.
    - `local`: further layers of every block, "differential" and "integral" stencils.
    - `stabilise`: whether the spectral layers see tanh v in place of v. For float16, whose largest number is 65504: transforms
      are means here and do not leave it by themselves, but products with large weights can. bfloat16 has the range of float32 and
      does without.
    - `kept`: for networks ported from elsewhere: the number of frequencies per axis, counting both signs on all axes but the
      last. It replaces `modes`.

    **Raises:** `ValueError` for an unknown choice or a size below 1.

    **Example:**

        >>> sx.FNO.config(width=8, modes=6).depth
        4
    """

    width: int = 32
    modes: int | tuple[int, ...] = 12
    depth: int = 4
    padding: float | tuple[float, ...] = 0.0
    lifting: float | tuple[int, ...] = ()
    projection: float | tuple[int, ...] = (128,)
    channel_mlp: float | None = None
    skip_bias: bool = True
    spectral_bias: bool = False
    norm: Literal["batch", "group"] | None = None
    activation: Literal["gelu", "relu", "tanh"] = "gelu"
    init: Literal["normal", "uniform"] = "normal"
    padding_side: Literal["end", "both"] = "end"
    method: Method = "auto"
    remat: bool = False
    boundary: Boundary = "periodic"
    factorization: Factorization | None = None
    rank: Rank = 0.1
    separable: bool = False
    local: tuple[Local, ...] = ()
    stabilise: bool = False
    kept: tuple[int, ...] | None = None

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        for name, known in _CHOICES.items():
            value = vars(self)[name]
            if isinstance(value, str | None) and value not in known:
                raise ValueError(f"FNO: unknown {name} {value!r}; use one of {list(known)}")
        check_fields(self)
        modes = (self.modes,) if isinstance(self.modes, int) else tuple(self.modes)
        if min((*modes, *(self.kept or ()), self.width, self.depth)) < 1:
            raise ValueError(
                f"FNO: width, depth and modes must be positive, got {self.width}, {self.depth}, {self.kept or modes}"
            )
        chosen = {"factorization": self.factorization is not None, "separable": self.separable}
        chosen["boundary"] = self.boundary != "periodic"
        if sum(chosen.values()) > 1:
            several = [name for name, given in chosen.items() if given]
            raise ValueError(f"FNO: {' and '.join(several)} exclude each other; each is a form of the spectral weights")
        # These fields have defaults for the forms that read them.
        ignored = {
            "rank": self.rank != 0.1 and not chosen["factorization"],
            "init": self.init != "normal" and any(chosen.values()),
            "method": self.method != "auto" and chosen["boundary"],
        }
        for name in (name for name, given in ignored.items() if given):
            form = next((f"{name}={vars(self)[name]!r}" for name, given in chosen.items() if given), "dense weights")
            raise ValueError(f"FNO: {name}={vars(self)[name]!r} would be ignored with {form}; leave it out")
        per_axis = isinstance(self.padding, tuple)
        padding = tuple(number("FNO", "padding", x, least=0) for x in (self.padding if per_axis else (self.padding,)))
        # NumPy's numbers would compare with a tuple element by element, in which caches of compiled programs cannot see equality.
        object.__setattr__(self, "padding", padding if per_axis else padding[0])
        if chosen["boundary"] and np.any(self.padding):
            raise ValueError(
                f"FNO: boundary={self.boundary!r} needs no padding, got {self.padding}; padding is for the periodic basis"
            )

    def paddings(self, ndim: int) -> tuple[float, ...]:
        """The padding of every axis. **Raises:** `ValueError` if `padding` has another number of axes."""
        found = self.padding if isinstance(self.padding, tuple) else (self.padding,) * ndim
        if len(found) != ndim:
            raise ValueError(f"FNO: padding={self.padding} for a task with {ndim} dimensions")
        return found

    def kept_modes(self, ndim: int) -> tuple[int, ...]:
        """Number of frequencies kept per axis in `ndim` dimensions, counting both signs on all axes but the last; in real bases
        the number of functions.

        **Raises:** `ValueError` if `modes` or `kept` has another number of axes.
        """
        modes = (self.modes,) * ndim if isinstance(self.modes, int) else tuple(self.modes)
        kept = modes if self.boundary != "periodic" else (*(2 * m for m in modes[:-1]), modes[-1])
        kept = self.kept or kept
        if len(kept) != ndim:
            raise ValueError(f"FNO: modes={self.kept or self.modes} for a task with {ndim} dimensions")
        return kept

    def build(self, signature: Signature, key: Array) -> "FourierNetwork":
        return FourierNetwork(self, signature, key=key)


class FourierNetwork(AbstractNetwork):
    """The network of `FNO`: a pointwise lifting, Fourier blocks on the padded grid, and a pointwise projection.

    It takes a batch of `Inputs`. The channels of the lifting are the input fields `(batch, *space, in)`, the parameters
    `(batch, p)` as constant channels, and the coordinates of the query points. The output is `(batch, *space, out)`, with the
    running statistics of batch normalisation as state.

    On a mesh of devices the batch is divided along the mesh axis "data" and the first space axis along "space" (see
    `on_devices`). Division along "space" needs two or more space axes, and a number of modes of the last axis that is a multiple
    of the number of devices.

    **Raises:** `ValueError` for a domain that is not a grid of one to three dimensions.

    **Example:**

        >>> type(sx.FNO(task, width=4, modes=4, depth=1, key=key).network).__name__
        'FourierNetwork'
    """

    lifting: PointwiseMLP
    blocks: tuple[Block, ...]
    projection: PointwiseMLP
    config: FNOConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: FNOConfig, signature: Signature, *, key: Array):
        frame, width = GridFrame.of("FNO", signature, 0.0), config.width
        grid = frame.grid
        config.paddings(grid.ndim)
        if config.boundary != "periodic" and any(grid.periodic):
            raise ValueError(f"FNO: boundary={config.boundary!r} on {grid!r}, which is periodic")
        kept = config.kept_modes(grid.ndim)
        keys = jax.random.split(key, config.depth + 2)

        def mlp(n_in, hidden, n_out, key):
            widths = (round(hidden * width),) if isinstance(hidden, float | int) else hidden
            return PointwiseMLP(n_in, *widths, n_out, activation=config.activation, key=key)

        self.lifting = mlp(frame.channels, config.lifting, width, keys[0])
        self.projection = mlp(width, config.projection, signature.out_channels, keys[1])
        self.blocks = tuple(Block(config, kept, grid, key=k) for k in keys[2:])
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(batched=True, resolution_free=True, convolves=bool(self.config.local))

    def initial_state(self) -> PyTree:
        """Running statistics of batch normalisation, one entry per block; None without batch normalisation."""
        states = tuple(b.norm.initial_state() if isinstance(b.norm, BatchNorm) else None for b in self.blocks)
        return states if any(s is not None for s in states) else None

    def __call__(self, inputs: Inputs, *, key: Array | None = None, state: PyTree = None, train: bool = False):
        x = grid_channels(inputs, self.lifting.layers[0].weight.dtype)
        space = x.shape[1:-1]
        widths = self._pad_widths(space)
        if SPACE not in axes_to_divide():
            if not train:
                y = over_devices(lambda n, x, s: (n._predict(x, widths, s), s), self, x, state)[0]
                return y, state
            return over_devices(lambda n, x, s: n._on_device(x, widths, s, train), self, x, state)
        # A device with a part of space does not know where space ends. So the padding is added before the division, and a last
        # channel marks the points inside.
        x = jnp.pad(jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1), [(0, 0), *widths, (0, 0)])
        y, state = over_devices(lambda n, x, s: n._on_device(x, None, s, train), self, x, state)
        return y[(slice(None), *_inside(widths, space))], state

    def _predict(self, x, widths: list[tuple[int, int]], state: PyTree):
        """`_on_device` outside training. On a CPU it computes as many samples at a time as its caches hold. A derivative is
        computed for the whole batch at once, because it stores all intermediate results anyway and is slower in parts."""
        arrays, rest = eqx.partition((self, state), eqx.is_array)

        def together(arrays, x):
            network, state = eqx.combine(arrays, rest)
            return network._on_device(x, widths, state, False)[0]

        width = self.lifting.layers[-1].weight.shape[-1]
        size = part_for_caches(x.shape[0], x[0, ..., 0].size * width * x.dtype.itemsize)

        def parts(arrays, x):
            network, state = eqx.combine(arrays, rest)
            network = with_formed_weights(network)  # once, not in every part
            return in_parts(lambda part: network._on_device(part, widths, state, False)[0], x, size)

        predict = jax.custom_jvp(parts)
        predict.defjvp(lambda primals, tangents: jax.jvp(together, primals, tangents))
        return predict(arrays, x)

    def _on_device(self, x, widths: list[tuple[int, int]] | None, state: PyTree, train: bool):
        """Outputs and new state for inputs `(batch, *space, channels)`. `widths` is the padding to add. None means that the
        inputs are padded already and have a last channel that is 1 inside and 0 in the padding."""
        ndim, space = x.ndim - 2, x.shape[1:-1]
        reverse = tuple(range(1, ndim + 1))[::-1]
        x = jnp.transpose(x, (*reverse, 0, ndim + 1))
        if widths is None:
            v = self.lifting(x[..., :-1]) * x[..., -1:]
        else:
            v = jnp.pad(self.lifting(x), [*widths[::-1], (0, 0), (0, 0)])
        states = state if state is not None else (None,) * len(self.blocks)
        # A device with a part of space does not know the whole grid; layers that read it refuse to be divided along space.
        grid = self.signature.domain.as_grid("FNO")
        grid, new_states = grid if widths is None else grid.at_shape(tuple(space)), []
        for i, (block, block_state) in enumerate(zip(self.blocks, states, strict=True)):

            def run(block, v, block_state, last=i == len(self.blocks) - 1):
                return block(v, ACTIVATIONS[self.config.activation], last, block_state, train, grid)

            v, new = (jax.checkpoint(run) if self.config.remat else run)(block, v, block_state)
            new_states.append(new)
        if widths is not None:
            v = v[_inside(widths, space)[::-1]]
        y = jnp.transpose(self.projection(v), (ndim, *range(ndim)[::-1], ndim + 1))
        return y, (None if state is None else tuple(new_states))

    def _pad_widths(self, space: tuple[int, ...]) -> list[tuple[int, int]]:
        """Number of padding points before and after every axis.

        "end": the padded period is (1 + padding) times the box at every resolution, so that a Fourier mode is the same function
        on all grids. "both" (neuraloperator): round(padding · n) points on either side.
        """
        fractions = self.config.paddings(len(space))
        if self.config.padding_side == "both":
            return [(p, p) for p in (round(fraction * n) for fraction, n in zip(fractions, space, strict=True))]
        layouts = self.signature.domain.as_grid("FNO").layouts
        return [
            (0, max(round(fraction * (n - 1)) - 1, 0) if layout == "nodes" else round(fraction * n))
            for fraction, n, layout in zip(fractions, space, layouts, strict=True)
        ]


def _inside(widths, space) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for (a, _), n in zip(widths, space, strict=True))


class FNO:
    """Fourier neural operator for a task on a uniform grid. `FNO(task, key=key)` returns a `NetworkSurrogate` to train by `fit`.

    For input fields a and points x the network computes

        v_0 = P(a, x),   v_{l+1} = σ(K_l v_l + W_l v_l),   u = Q(v_L),

    where P, Q and W_l act at every point, σ is the activation, and K_l is a convolution whose kernel has trained Fourier
    coefficients R_l(k) at the frequencies |k_i| ≤ `modes`.

    **Arguments:**

    - `task`: the learning problem, on a grid of one to three dimensions (in a space-time task time is one of them).
    - `width`: number of channels, 20 to 64.
    - `modes`: frequencies kept per axis and sign. A grid of n points has n/2; keep one third to two thirds of them.
    - `depth`: number of blocks; 4 is usual.
    - `padding`: width of the zero padding, as a fraction of the domain: 0.1 to 0.3 for problems that are not periodic, 0 for
      periodic ones; one number, or one per axis, `(0.5, 0, 0)` for periodic flows in space-time. Choose it so that padding · (n −
      1) is an integer on every grid used.
    - `key`: random key of the initial weights.
    - `details`: the other fields of `FNOConfig`: `boundary="dirichlet"`, `"neumann"` or `"chebyshev"` for sines, cosines or
      polynomials instead of waves on domains that are not periodic; `factorization="tucker"`, `rank=0.1` for spectral weights
      of low rank (TFNO); `separable`; `local=("differential", "integral")` for stencils beside the spectral layers; `stabilise`
      for training in float16.
      `**ORIGINAL` and `**NEURALOPERATOR` (in `surrogax.surrogates.operators`) reproduce the published networks.

    A network that was trained on one grid also predicts on other resolutions. On a grid with fewer frequencies than `modes` the
    highest are dropped.

    `FNO.config(width=…, …)` makes the frozen config only, for models that build a network themselves.

    **Raises:** `ValueError` for point clouds and meshes, and for wrong settings.

    **Source:** Li et al., arXiv:2010.08895, equations 2 to 5; Kossaifi et al. 2023 (factorised weights); Liu-Schiaffini et al.,
    ICML 2024 (local layers); Tu et al., ICLR 2024 (`stabilise`). The channel MLP with soft gating is from neuraloperator 2.0
    (Kossaifi et al.).

    **Example:**

        >>> model = sx.FNO(task, width=8, modes=6, depth=2, key=key)
        >>> model.predict(ds[:2])["u"].shape, sx.count_parameters(model)
        ((2, 16), 2985)
    """

    config = FNOConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        width: int = 32,
        modes: int | tuple[int, ...] = 12,
        depth: int = 4,
        padding: float | tuple[float, ...] = 0.0,
        key: Array,
        **details: Any,
    ) -> NetworkSurrogate:
        config = FNOConfig(width=width, modes=modes, depth=depth, padding=padding, **details)
        return NetworkSurrogate.build(config, task, random_key("FNO", key))
