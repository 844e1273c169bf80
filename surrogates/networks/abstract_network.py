"""`AbstractNetwork`, the interface of networks, and `AbstractNetworkConfig`, the frozen settings that build one."""

import abc
from dataclasses import dataclass

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ...core.blueprint import AbstractBlueprint, AbstractBuilt
from ...core.storage import register
from ..task.inputs import Inputs
from ..task.signature import Signature


@dataclass(frozen=True)
class Abilities:
    """What a network can do beyond predicting one sample at the training points.

    - `batched`: its `__call__` takes a batch, with a leading sample axis on every array of `Inputs`.
    - `resolution_free`: it works on grids of other resolutions than the training grid.
    - `any_points`: it predicts at arbitrary query points, independent of the points of its inputs.
    - `convolves`: it uses XLA's convolutions, which CPUs compute slowly inside compiled loops; training then leaves the loop.

    **Example:**

        >>> sx.FNO(task, width=4, modes=4, depth=1, key=key).network.abilities.resolution_free
        True
    """

    batched: bool = False
    resolution_free: bool = False
    any_points: bool = False
    convolves: bool = False


class AbstractNetworkConfig(abc.ABC):
    """All sizes and choices of a network. A subclass is a frozen dataclass under `@surrogax.register(tag)`, so that files can
    hold it.

    New weights for further seeds, saved files and the identity of training runs follow from the config.

    **Fields:** `self_contained`: whether a saved network can be rebuilt from its config and arrays alone; True by default.

    **Example:**

        >>> isinstance(sx.FNO.config(width=8), sx.AbstractNetworkConfig)
        True
    """

    self_contained: bool = True

    @abc.abstractmethod
    def build(self, signature: Signature, key: Array) -> "AbstractNetwork":
        """A network with new random weights, for inputs and outputs of the given signature.

        **Raises:** `ValueError` for a signature that the network does not support.
        """


@register("NetworkBlueprint")
@dataclass(frozen=True)
class NetworkBlueprint(AbstractBlueprint):
    """The config and the signature from which the structure of a saved network is built again."""

    config: AbstractNetworkConfig
    signature: Signature

    def skeleton(self) -> "AbstractNetwork":
        return eqx.filter_eval_shape(self.config.build, self.signature, jax.random.key(0))


class AbstractNetwork(AbstractBuilt):
    """A network from normalised `Inputs` to normalised outputs, for one sample, or for a batch if it has the ability `batched`.

    A file holds its config, its signature and its arrays. The network may therefore contain functions and modules of other
    libraries, which no file could store.

    **Fields:** `config` and `signature`, from which it was built; `abilities`, what it can do.

    **Example:**

        >>> isinstance(sx.FNO(task, width=4, modes=4, depth=1, key=key).network, sx.AbstractNetwork)
        True
    """

    config: eqx.AbstractVar[AbstractNetworkConfig]
    signature: eqx.AbstractVar[Signature]
    abilities: eqx.AbstractVar[Abilities]

    @property
    def blueprint(self) -> NetworkBlueprint:
        return NetworkBlueprint(self.config, self.signature)

    @abc.abstractmethod
    def initial_state(self) -> PyTree:
        """Initial values of the arrays that training changes without an optimiser, such as running statistics; None if there
        are none."""

    @abc.abstractmethod
    def __call__(
        self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool
    ) -> tuple[Float[Array, "..."], PyTree]:
        """Predict one sample, or a batch if the network is `batched`.

        **Arguments:**

        - `inputs`: the normalised inputs and the query points.
        - `key`: for randomness in training, such as dropout; None outside training.
        - `state`: the current state, as from `initial_state`.
        - `train`: True in training, False in prediction.

        **Returns:** the normalised output `(*query, out_channels)`, where `*query` are the axes of the query points, and the new
        state.

        A network that is not `batched` is called under `vmap` with the axis name "batch". If it has a state, it must return the
        same state for all samples, by `jax.lax.pmean(…, "batch")`.
        """
