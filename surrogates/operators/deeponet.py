"""Deep operator networks (Lu et al., Nature Machine Intelligence 2021), stacked, unstacked and with several inputs."""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, random_key
from ...core.storage import register
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.network_surrogate import NetworkSurrogate
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from .branch import Branch, check_inputs
from .trunk import Trunk

Activation = Literal["gelu", "relu", "tanh"]
Outputs = Literal["split_both", "split_branch", "split_trunk", "independent"]


@register("DeepONet.Config")
@dataclass(frozen=True)
class DeepONetConfig(AbstractNetworkConfig):
    """Sizes and details of a DeepONet; see `DeepONet`.

    **Arguments:**

    - `basis`: number of basis functions per output channel.
    - `branch`, `trunk`: widths of the hidden layers.
    - `outputs`: what several output channels share; see `DeepONet`.
    - `product`: one branch per input, multiplied with each other, instead of one branch for all.
    - `stacked`: one network per coefficient instead of one for all.
    - `frequencies`: sines and cosines that the trunk sees of a periodic coordinate.
    - `activation`: "gelu", "relu" or "tanh".
    - `vanishing`, `zero`: axes on whose ends all outputs are 0, and what the normalised output channels are there, which
      `DeepONet` computes from the task.

    **Raises:** `TypeError` for a setting of another kind; `ValueError` for a size below 1, and for one of `vanishing` and `zero`
    alone.

    **Example:**

        >>> sx.DeepONet.config(basis=64).basis
        64
    """

    basis: int = 128
    branch: tuple[int, ...] = (128, 128)
    trunk: tuple[int, ...] = (128, 128, 128)
    outputs: Outputs = "split_both"
    product: bool = False
    stacked: bool = False
    frequencies: int = 4
    activation: Activation = "gelu"
    vanishing: tuple[str, ...] = ()
    zero: tuple[float, ...] = ()

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        for name in ("basis", "frequencies"):
            count("DeepONet", name, vars(self)[name])
        for width in (*self.branch, *self.trunk):
            count("DeepONet", "widths of hidden layers", width)
        if bool(self.vanishing) != bool(self.zero):
            raise ValueError(
                "DeepONet.config: `vanishing` needs `zero`, the normalised outputs of physical zeros, and the other way round; "
                "DeepONet(task, vanishing=…) computes them from the task"
            )

    def build(self, signature: Signature, key: Array) -> "DeepOperatorNetwork":
        return DeepOperatorNetwork(self, signature, key=key)


class DeepOperatorNetwork(AbstractNetwork):
    """The network of `DeepONet`, for one sample.

    Under `vmap` the trunk is evaluated once for all samples that are asked at the same points, and the sums over the basis are
    one matrix product of the coefficients of all samples with the basis functions at all points.
    """

    branches: tuple[Branch, ...]
    trunks: tuple[Trunk, ...]
    bias: Float[Array, " out"]
    config: DeepONetConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: DeepONetConfig, signature: Signature, *, key: Array):
        check_inputs("DeepONet", signature, config.product)
        _vanishing_axes(config.vanishing, signature)
        if config.zero and len(config.zero) != signature.out_channels:
            raise ValueError(f"DeepONet: zero={config.zero} for {signature.out_channels} output channels")
        out, apart = signature.out_channels, config.outputs == "independent"
        in_branch, in_trunk = (
            config.basis * (1 if apart or config.outputs == shared else out)
            for shared in ("split_trunk", "split_branch")
        )
        keys = jax.random.split(key, 2 * out if apart else 2)
        self.branches = tuple(
            Branch(
                signature, config.branch, in_branch, config.activation, product=config.product, stacked=config.stacked, key=k
            )
            for k in keys[::2]
        )  # fmt: skip
        self.trunks = tuple(
            Trunk(signature, config.trunk, in_trunk, config.activation, config.frequencies, key=k) for k in keys[1::2]
        )
        self.bias = jnp.zeros(out)
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(any_points=True)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        k = self.config.basis
        b = jnp.concatenate([branch(inputs).reshape(k, -1) for branch in self.branches], -1)
        t = [trunk(inputs) for trunk in self.trunks]
        t = jnp.concatenate([functions.reshape(*functions.shape[:-1], k, -1) for functions in t], -1)
        y = expanded(b, t) / np.sqrt(k) + self.bias
        if not self.config.vanishing:
            return y, state
        x = inputs.query.points.astype(y.dtype)
        factor = jnp.ones(x.shape[:-1], y.dtype)
        for axis in _vanishing_axes(self.config.vanishing, self.signature):
            factor = factor * 4 * x[..., axis] * (1 - x[..., axis])
        return jnp.asarray(self.config.zero, y.dtype) + factor[..., None] * y, state


def _vanishing_axes(names: tuple[str, ...], signature: Signature) -> list[int]:
    """The numbers of these axes. **Raises:** `ValueError` for other than axes of a grid that are not periodic."""
    if not names:
        return []
    grid = signature.domain.as_grid("DeepONet(vanishing=…)")
    known = [name for name, periodic in zip(grid.names, grid.periodic, strict=True) if not periodic]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"DeepONet(vanishing={names}): {unknown} are no axes with ends; {grid!r} has {known}")
    return [grid.names.index(name) for name in dict.fromkeys(names)]


def expanded(b: Float[Array, "k c"], t: Float[Array, "*query k e"]) -> Float[Array, "*query out"]:
    """Σ_k b_kc t_kc, where the coefficients or the functions of one channel serve all channels of the other."""
    points = t.shape[:-2]
    t = t.reshape(-1, *t.shape[-2:])
    if t.shape[-1] == 1:
        y = t[..., 0] @ b
    elif b.shape[-1] == 1:
        y = jnp.einsum("nkc,k->nc", t, b[:, 0])
    else:
        y = jnp.einsum("nkc,kc->nc", t, b)
    return y.reshape(*points, -1)


def check_sensors(name: str, task: Task) -> None:
    """**Raises:** `ValueError`, which begins with `name`, where the training samples are known to have sensors of their own."""
    reads = any(task.spec(field).domain == task.place for field in task.inputs)
    if reads and not task.domain.fixed and not task.mode.ahead and not task.means:
        raise ValueError(
            f"{name} reads its inputs at fixed sensors, but the training samples have points of their own; interpolate the "
            "inputs to the points of one cloud, or use a network that sees the points"
        )


def _encoded_zero(task: Task) -> tuple[float, ...]:
    """What a network returns where the targets, or their increments, are zero: one number per output channel."""
    label = "Δ" if task.mode.increments else ""
    numbers = [(task.normalizers[label + name].mean, task.normalizers[label + name].std) for name in task.targets]
    mean, std = (
        np.concatenate([np.asarray(part, np.float64) for part in parts]) for parts in zip(*numbers, strict=True)
    )
    origins = 0.0 if task.mode.increments else task.target_origins
    zero = -(origins + mean) / std
    return tuple(map(float, np.tile(zero, task.mode.out_channels(len(zero)) // len(zero))))


class DeepONet:
    """Deep operator network for any task with inputs. `DeepONet(task, key=key)` returns a `NetworkSurrogate` to train by `fit`.

    For input values a at fixed sensors and a query point x the network computes, per output channel c,

        u_c(x) = Σ_k b_kc(a) t_kc(x) / √K + β_c,   k = 1 … K = `basis`,

    where the branch b is an MLP of all input values and parameters, and the trunk t an MLP of the coordinates.

    **Arguments:**

    - `task`: the learning problem, steady or in time. Input fields are read at the points of the training data; on clouds and
      meshes all samples must have them in the same order. Predictions are made at any points, `at=…`.
    - `basis`: number of basis functions per output channel, 32 to 256.
    - `branch`, `trunk`: widths of the hidden layers, such as `(128, 128)`.
    - `outputs`: "split_both" has coefficients and functions for every output channel from one branch and one trunk;
      "split_branch" shares the functions among the channels, "split_trunk" the coefficients; "independent" has a branch and a
      trunk per channel.
    - `product`: one branch per channel of the input fields and one for the parameters; b is their product (MIONet). Good for
      operators that are linear in some inputs, if the task has several.
    - `stacked`: one branch network per coefficient. It has about `basis` times the weights, so make them narrow.
    - `frequencies`: number of sines and cosines that stand for the coordinate of a periodic axis, so that predictions are
      periodic; 2 to 16.
    - `activation`: "gelu", "relu" or "tanh".
    - `vanishing`: axes on both of whose ends all targets are 0, such as `("x", "y")`, on grids. There Π_i 4ξ_i(1 − ξ_i), with ξ_i
      from 0 to 1 along these axes, multiplies the sum, in units in which the physical zero is zero, so that the condition
      holds to rounding.
    - `key`: random key of the initial weights.

    `DeepONet.config(basis=…, …)` makes the frozen config only.

    It fails on solutions with moving jumps, which no small linear basis represents, and sees fields at the resolution of training
    only: inputs elsewhere are refused.

    **Raises:** `ValueError` for a task without inputs, a `product` of a single input, samples with sensors of their own,
    `vanishing` with other than non-periodic axes of a grid, and wrong settings.

    **Source:** Lu et al., Nature Machine Intelligence 3 (2021); Jin, Meng and Lu, SIAM J. Sci. Comput. 44 (2022) (products);
    Lu et al., CMAME 393 (2022) (several outputs, periodic features).

    **Example:**

        >>> model = sx.DeepONet(task, basis=8, branch=(16,), trunk=(16,), key=key)
        >>> model.predict({"a": a[:2]}, at=sx.PointCloud(np.array([[0.1], [0.7]])))["u"].shape     # at any points
        (2, 2)
    """

    config = DeepONetConfig

    @checked
    def __new__(
        cls,
        task: Task,
        *,
        basis: int = 128,
        branch: tuple[int, ...] = (128, 128),
        trunk: tuple[int, ...] = (128, 128, 128),
        outputs: Outputs = "split_both",
        product: bool = False,
        stacked: bool = False,
        frequencies: int = 4,
        activation: Activation = "gelu",
        vanishing: tuple[str, ...] = (),
        key: Array,
    ) -> NetworkSurrogate:
        check_sensors("DeepONet", task)
        zero = _encoded_zero(task) if vanishing else ()
        config = DeepONetConfig(
            basis, branch, trunk, outputs, product, stacked, frequencies, activation, vanishing, zero
        )
        return NetworkSurrogate.build(config, task, random_key("DeepONet", key))
