"""POD-DeepONet (Lu et al., CMAME 2022): a branch network for the coefficients of a POD basis of the training outputs."""

from dataclasses import dataclass, replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ...core.arguments import check_fields, checked, count, random_key
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...solvers.kernels.interpolate import interpolate_at
from ..networks.abstract_network import Abilities, AbstractNetwork, AbstractNetworkConfig
from ..networks.network_surrogate import NetworkSurrogate
from ..reduced.reduced_coordinates import centred_pod
from ..shared_points import first_with_other_points, nan_unless_same
from ..task.inputs import Inputs
from ..task.signature import Signature
from ..task.task import Task
from ..trainable import Buffer
from .branch import Branch, check_inputs
from .deeponet import Activation, expanded
from .target_snapshots import target_snapshots


@register("PODDeepONet.Config")
@dataclass(frozen=True)
class PODDeepONetConfig(AbstractNetworkConfig):
    """Sizes and details of a POD-DeepONet; see `PODDeepONet`. A network built from it alone has a basis of zeros.

    **Arguments:** `basis`, the number of modes; `branch`, widths of the hidden layers; `product`, `stacked` and `activation` as
    in `DeepONetConfig`.

    **Example:**

        >>> sx.PODDeepONet.config(basis=16).basis
        16
    """

    basis: int = 32
    branch: tuple[int, ...] = (128, 128, 128)
    product: bool = False
    stacked: bool = False
    activation: Activation = "gelu"

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        count("PODDeepONet", "basis", self.basis)
        for width in self.branch:
            count("PODDeepONet", "widths of hidden layers", width)

    def build(self, signature: Signature, key: Array) -> "PODDeepOperatorNetwork":
        return PODDeepOperatorNetwork(self, signature, key=key)


class PODDeepOperatorNetwork(AbstractNetwork):
    """The network of `PODDeepONet`, for one sample.

    **Fields:** `modes` `(*space, out, K)`, each times the standard deviation of its coefficient; `mean` `(*space, out)`; `own`,
    on clouds and meshes the points `(*space, d)` of the basis and their mask, else None.
    """

    branch: Branch
    modes: Buffer
    mean: Buffer
    own: Buffer
    config: PODDeepONetConfig = eqx.field(static=True)
    signature: Signature = eqx.field(static=True)

    def __init__(self, config: PODDeepONetConfig, signature: Signature, *, key: Array):
        check_inputs("PODDeepONet", signature, config.product)
        self.branch = Branch(
            signature, config.branch, config.basis, config.activation, product=config.product, stacked=config.stacked,
            key=key,
        )  # fmt: skip
        shape = signature.domain.shape
        self.mean = Buffer(jnp.zeros((*shape, signature.out_channels)))
        self.modes = Buffer(jnp.zeros((*shape, signature.out_channels, config.basis)))
        points = (jnp.zeros((*shape, signature.ndim)), jnp.ones(shape, bool))
        self.own = Buffer(None if signature.domain.fixed else points)
        self.config, self.signature = config, signature

    @property
    def abilities(self) -> Abilities:
        return Abilities(any_points=self.signature.domain.fixed)

    def initial_state(self) -> None:
        return None

    def __call__(self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool):
        b = self.branch(inputs)
        space = self.mean.value.shape[:-1]
        if self.own.value is None:
            functions = jnp.concatenate([self.modes.value, self.mean.value[..., None]], -1)
            flat = functions.reshape(*space, -1)
            there = interpolate_at(flat, self._positions(inputs.query.points), self.signature.domain.periodic)
            there = there.reshape(*there.shape[:-1], *functions.shape[-2:])
            modes, mean = there[..., :-1], there[..., -1]
        else:
            points, mask = self.own.value
            d = points.shape[-1]
            here = nan_unless_same(points.reshape(-1, d), mask.ravel(), inputs.query.points.reshape(-1, d))
            modes, mean = self.modes.value * here, self.mean.value
        return expanded(b[:, None], jnp.swapaxes(modes, -1, -2)) + mean, state

    def _positions(self, points: Float[Array, "*query d"]) -> Float[Array, "*query d"]:
        """Coordinates in [0, 1] as numbers of grid points."""
        grid = self.signature.domain.as_grid("PODDeepONet")
        intervals = [n - 1 if layout == "nodes" else n for n, layout in zip(grid.shape, grid.layouts, strict=True)]
        first = [0.5 if layout == "cells" else 0.0 for layout in grid.layouts]
        return points * np.array(intervals, points.dtype) - np.array(first, points.dtype)


class PODDeepONet:
    """POD-DeepONet: `PODDeepONet(task, train, key=key)` returns a `NetworkSurrogate` to train by `fit` on `train`.

    For input values a the network computes the normalised targets

        u(x) = ū(x) + Σ_k b_k(a) s_k φ_k(x),   k = 1 … K = `basis`,

    where φ_k are the POD modes of the training targets without their mean ū, s_k the standard deviations of their coefficients,
    and b an MLP of all input values and parameters. Mean and modes are computed here, from the training data alone, and are not
    trained. Several output channels share the coefficients.

    **Arguments:**

    - `task`: the learning problem. In time the basis is that of the windows that one prediction covers; with increments of these.
    - `train`: the training data of the task, and nothing else.
    - `basis`: number of modes, 16 to 128; fewer if the data have fewer.
    - `branch`, `product`, `stacked`, `activation`: as in `DeepONet`.
    - `key`: random key of the initial weights.

    Between the points of the training grid the modes are interpolated linearly. On clouds and meshes all samples must have the
    same points, at which alone it predicts. `PODDeepONet.config(basis=…)` makes the frozen config.

    **Raises:** `ValueError` for a task without inputs, for samples with points of their own, and for wrong settings.

    **Source:** Lu et al., CMAME 393 (2022); the script released with the paper takes its Burgers basis from the test set.

    **Example:**

        >>> sx.PODDeepONet(task, ds, basis=4, branch=(16,), key=key).predict(ds[:2])["u"].shape
        (2, 16)
    """

    config = PODDeepONetConfig

    @checked
    def __new__(
        cls,
        task: Task,
        train: Dataset,
        *,
        basis: int = 32,
        branch: tuple[int, ...] = (128, 128, 128),
        product: bool = False,
        stacked: bool = False,
        activation: Activation = "gelu",
        key: Array,
    ) -> NetworkSurrogate:
        task.check(train)
        place = dict(train.domains)[task.place]
        if (other := first_with_other_points(train, place)) is not None:
            raise ValueError(
                f"PODDeepONet: sample {other} has other points than sample 0; a basis needs fields at the same points"
            )
        config = PODDeepONetConfig(basis, branch, product, stacked, activation)
        rows, sites = target_snapshots(task, train)
        if rows.shape[1:-1] != task.signature.domain.shape:
            raise ValueError(
                f"PODDeepONet: the data have {rows.shape[1:-1]} points, the task {task.signature.domain.shape}"
            )
        weights = np.repeat(np.asarray(sites.weights, np.float64).ravel(), rows.shape[-1])
        mean, _, pod = centred_pod(rows.reshape(len(rows), -1), weights, basis)
        modes = np.asarray(pod.modes, np.float64) * np.asarray(pod.coefficients, np.float64).std(0)
        config = replace(config, basis=pod.rank)
        surrogate = NetworkSurrogate.build(config, task, random_key("PODDeepONet", key))
        mask = np.ones(rows.shape[1:-1], bool) if sites.mask is None else sites.mask
        points = (jnp.asarray(task.scaled(task.signature.domain, sites.points), jnp.float32), jnp.asarray(mask))
        held = (
            Buffer(jnp.asarray(modes.reshape(*rows.shape[1:], pod.rank), jnp.float32)),
            Buffer(jnp.asarray(mean.reshape(rows.shape[1:]), jnp.float32)),
            Buffer(None if task.domain.fixed else points),
        )
        network = eqx.tree_at(lambda n: (n.modes, n.mean, n.own), surrogate.network, held)
        return NetworkSurrogate(network, task, surrogate.state)
