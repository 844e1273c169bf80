"""Fourier neural operator (Li et al., ICLR 2021) in one to three dimensions."""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ...core.domains import Layout
from ...core.storage import register
from ...solvers.kernels.fourier import Method
from ...solvers.kernels.mesh_axes import SPACE
from ..networks.layers import ACTIVATIONS, BatchNorm, GroupNorm, Pointwise, PointwiseMLP, SpectralConv
from ..surrogate import NetworkSurrogate
from ..task.task import Inputs, Task
from .on_devices import axes_to_divide, in_parts, over_devices, part_for_caches

# The original paper's network (with the batch normalisation of its published parameter counts), and the graph of
# neuraloperator 2.0 at its defaults: `FNO(task, **ORIGINAL)`.
ORIGINAL: Mapping[str, Any] = dict(
    lifting=(), projection=(128,), channel_mlp=None, skip_bias=True, spectral_bias=False, norm="batch",
    activation="relu", init="uniform",
)  # fmt: skip
NEURALOPERATOR: Mapping[str, Any] = dict(
    lifting=2.0, projection=2.0, channel_mlp=0.5, skip_bias=False, spectral_bias=True, norm=None,
    activation="gelu", init="normal", padding_side="both",
)  # fmt: skip


@register("FNO.Block")
class Block(eqx.Module):
    """v ↦ σ(MLP(σ(norm(K v + W v))) + g ⊙ v), or σ(norm(K v + W v)) without channel MLP; σ is left out at the end of the
    last block."""

    spectral: SpectralConv
    skip: Pointwise
    norm: BatchNorm | GroupNorm | None
    channel_mlp: PointwiseMLP | None
    gate: Float[Array, " c"] | None

    def __init__(self, width, kept, *, channel_mlp, skip_bias, spectral_bias, norm, activation, init, method, key):
        k1, k2, k3 = jax.random.split(key, 3)
        self.spectral = SpectralConv(width, width, kept, bias=spectral_bias, init=init, method=method, key=k1)
        self.skip = Pointwise(width, width, bias=skip_bias, key=k2)
        self.norm = {"batch": BatchNorm, "group": GroupNorm, None: lambda _: None}[norm](width)
        self.channel_mlp = self.gate = None
        if channel_mlp is not None:
            self.channel_mlp = PointwiseMLP(width, round(channel_mlp * width), width, activation=activation, key=k3)
            self.gate = jnp.ones(width)

    def __call__(self, v, activate, last: bool, state, train: bool):
        y = self.spectral(v) + self.skip(v)
        if isinstance(self.norm, BatchNorm):
            y, state = self.norm(y, state, train)
        elif self.norm is not None:
            y = self.norm(y)
        y = y if last else activate(y)
        if self.channel_mlp is not None:
            y = self.channel_mlp(y) + self.gate * v
            y = y if last else activate(y)
        return y, state


@register("FNO.Network")
class FourierNetwork(eqx.Module):
    """The network behind `FNO`: lifting → blocks on the padded grid → projection.

    It computes whole batches in the layout of `layers`, on a mesh of devices divided as `on_devices` says: along "space" two
    or more axes are needed and modes of the last one that the devices divide. Input: `Inputs` with `fields`
    `(batch, *space, in)` or none, `params` `(batch, p)` or none (constant channels), and the coordinates `query`, appended
    as channels. Output `(batch, *space, out)` and the running statistics.
    """

    lifting: PointwiseMLP
    blocks: tuple[Block, ...]
    projection: PointwiseMLP
    padding: float = eqx.field(static=True)
    padding_side: str = eqx.field(static=True)
    layouts: tuple[Layout, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    remat: bool = eqx.field(static=True)
    options: tuple = eqx.field(static=True)
    resolution_free = True
    batched = True

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        width: int,
        kept: tuple[int, ...],
        depth: int = 4,
        layouts: tuple[Layout, ...] | None = None,
        lifting: float | tuple[int, ...] = (),
        projection: float | tuple[int, ...] = (128,),
        channel_mlp: float | None = None,
        skip_bias: bool = True,
        spectral_bias: bool = False,
        norm: Literal["batch", "group"] | None = None,
        activation: str = "gelu",
        init: str = "normal",
        padding: float = 0.0,
        padding_side: Literal["end", "both"] = "end",
        method: Method = "auto",
        remat: bool = False,
        key: Array,
    ):
        if not 1 <= len(kept) <= 3:
            raise ValueError(f"FNO: 1 to 3 space dimensions, got modes for {len(kept)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"FNO: unknown activation {activation!r}; use one of {list(ACTIVATIONS)}")
        if min((*kept, width, depth)) < 1:
            raise ValueError(f"FNO: width, depth and modes must be positive, got {width}, {depth}, {kept}")
        given = {k: v for k, v in locals().items() if k not in ("self", "key", "__class__")}
        self.options = tuple(sorted(given.items(), key=lambda item: item[0]))
        keys = jax.random.split(key, depth + 2)

        def hidden(spec):
            return (round(spec * width),) if isinstance(spec, float | int) else tuple(spec)

        self.lifting = PointwiseMLP(n_in + len(kept), *hidden(lifting), width, activation=activation, key=keys[0])
        self.projection = PointwiseMLP(width, *hidden(projection), n_out, activation=activation, key=keys[1])
        self.blocks = tuple(
            Block(
                width, tuple(kept), channel_mlp=channel_mlp, skip_bias=skip_bias, spectral_bias=spectral_bias,
                norm=norm, activation=activation, init=init, method=method, key=k,
            )
            for k in keys[2:]
        )  # fmt: skip
        self.padding, self.padding_side, self.activation, self.remat = padding, padding_side, activation, remat
        self.layouts = tuple(layouts or ("periodic",) * len(kept))

    def reinit(self, key: Array) -> "FourierNetwork":
        """The same network with new weights."""
        options = dict(self.options)
        return FourierNetwork(options.pop("n_in"), options.pop("n_out"), **options, key=key)

    def initial_state(self) -> PyTree:
        """Running statistics of batch normalisation, None without it."""
        states = tuple(b.norm.initial_state() if isinstance(b.norm, BatchNorm) else None for b in self.blocks)
        return states if any(s is not None for s in states) else None

    def __call__(self, inputs: Inputs, *, key: Array | None = None, state: PyTree = None, train: bool = False):
        """Outputs of a batch and the new state."""
        batch, *space, _ = inputs.query.shape
        channels = [] if inputs.fields is None else [inputs.fields]
        if inputs.params is not None:
            params = inputs.params.reshape(batch, *(1,) * len(space), -1)
            channels.append(jnp.broadcast_to(params, (batch, *space, params.shape[-1])))
        x = jnp.concatenate([*channels, inputs.query.astype(self.lifting.layers[0].weight.dtype)], -1)
        widths = self._pad_widths(tuple(space))
        if SPACE not in axes_to_divide():
            if not train:
                y = over_devices(lambda n, x, s: (n._predict(x, widths, s), s), self, x, state)[0]
                return y, state
            return over_devices(lambda n, x, s: n._on_device(x, widths, s, train), self, x, state)
        # No device sees where space ends: the padding comes first, and a last channel says what is inside.
        x = jnp.pad(jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1), [(0, 0), *widths, (0, 0)])
        y, state = over_devices(lambda n, x, s: n._on_device(x, None, s, train), self, x, state)
        return y[(slice(None), *_inside(widths, space))], state

    def _predict(self, x, widths: list[tuple[int, int]], state: PyTree):
        """`_on_device` outside training, on a CPU for as many samples at a time as its caches hold, unless there is a
        derivative to compute: that keeps every intermediate result and is slower in parts."""
        arrays, rest = eqx.partition((self, state), eqx.is_array)

        def together(arrays, x):
            network, state = eqx.combine(arrays, rest)
            return network._on_device(x, widths, state, False)[0]

        width = self.lifting.layers[-1].weight.shape[-1]
        size = part_for_caches(len(x), x[0, ..., 0].size * width * x.dtype.itemsize)
        predict = jax.custom_jvp(lambda arrays, x: in_parts(lambda part: together(arrays, part), x, size))
        predict.defjvp(lambda primals, tangents: jax.jvp(together, primals, tangents))
        return predict(arrays, x)

    def _on_device(self, x, widths: list[tuple[int, int]] | None, state: PyTree, train: bool):
        """Of inputs `(batch, *space, channels)` outputs and state; the fields are padded by `widths`, or have been (None)."""
        ndim, space = x.ndim - 2, x.shape[1:-1]
        reverse = tuple(range(1, ndim + 1))[::-1]
        x = jnp.transpose(x, (*reverse, 0, ndim + 1))
        if widths is None:
            v = self.lifting(x[..., :-1]) * x[..., -1:]
        else:
            v = jnp.pad(self.lifting(x), [*widths[::-1], (0, 0), (0, 0)])
        states = state if state is not None else (None,) * len(self.blocks)
        new_states = []
        for i, (block, block_state) in enumerate(zip(self.blocks, states, strict=True)):

            def run(block, v, block_state, last=i == len(self.blocks) - 1):
                return block(v, ACTIVATIONS[self.activation], last, block_state, train)

            v, new = (jax.checkpoint(run) if self.remat else run)(block, v, block_state)
            new_states.append(new)
        if widths is not None:
            v = v[_inside(widths, space)[::-1]]
        y = jnp.transpose(self.projection(v), (ndim, *range(ndim)[::-1], ndim + 1))
        return y, (None if state is None else tuple(new_states))

    def _pad_widths(self, space: tuple[int, ...]) -> list[tuple[int, int]]:
        """Zeros per axis. "end": the padded period is (1 + padding) times the box at every resolution, so that a mode is
        the same function on all grids; "both" (neuraloperator): round(padding · n) points on either side."""
        if self.padding_side == "both":
            return [(p, p) for p in (round(self.padding * n) for n in space)]
        if self.padding == 0:
            return [(0, 0)] * len(space)
        return [
            (0, max(round(self.padding * (n - 1)) - 1, 0) if layout == "nodes" else round(self.padding * n))
            for n, layout in zip(space, self.layouts, strict=True)
        ]


def _inside(widths, space) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for (a, _), n in zip(widths, space, strict=True))


def FNO(
    task: Task,
    *,
    width: int = 32,
    modes: int | tuple[int, ...] = 12,
    depth: int = 4,
    padding: float = 0.0,
    key: Array,
    **options,
) -> NetworkSurrogate:
    """Fourier neural operator for `task`, to be trained with `fit`.

    v_0 = P(a, x);  v_{l+1} = σ(K_l v_l + W_l v_l);  u = Q(v_L), with K_l a convolution whose kernel has Fourier coefficients
    R_l(k) learned for |k_i| ≤ modes.

    **Arguments:**

    - `width`: channels, 20 to 64.
    - `modes`: frequencies per axis and sign, one third to two thirds of what the training grid holds (n/2).
    - `depth`: blocks, 4.
    - `padding`: extension of the domain by zeros, as a fraction of it, for non-periodic problems: 0.1 to 0.3. It scales with
      the resolution. Choose it so that padding · (n − 1) is whole on every grid used.
    - `options`: see `FourierNetwork`. `**ORIGINAL` and `**NEURALOPERATOR` reproduce the published networks.

    Trained on one grid it runs on others (`resolution_free`); on grids coarser than its modes it drops the highest.

    **Raises:** `ValueError` for point clouds. Source: Li et al., arXiv:2010.08895, equations 2 to 5; Kossaifi et al.,
    neuraloperator 2.0, for the channel MLP with soft gating.
    """
    if task.grid is None:
        raise ValueError("FNO needs a uniform grid; this task lives on point clouds")
    modes = (modes,) * task.grid.ndim if isinstance(modes, int) else tuple(modes)
    if len(modes) != task.ndim:
        raise ValueError(f"FNO: modes={modes} for a task with {task.ndim} space dimensions")
    kept = (*(2 * m for m in modes[:-1]), modes[-1])
    network = FourierNetwork(
        task.in_channels + task.in_params,
        task.out_channels,
        width=width,
        kept=kept,
        depth=depth,
        layouts=task.grid.layouts,
        padding=padding,
        key=key,
        **options,
    )
    return NetworkSurrogate(network=network, task=task, state=network.initial_state())
