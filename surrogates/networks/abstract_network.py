"""What a network is to the library: a pytree that was built by a frozen config, with declared abilities."""

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
    """What a network can do beyond one sample at the points of training.

    - `batched`: `__call__` takes a whole batch, every array of `Inputs` with a leading axis.
    - `resolution_free`: it serves grids of other resolutions than the training grid.
    - `any_points`: it answers at arbitrary query points, whatever the points of its inputs.
    """

    batched: bool = False
    resolution_free: bool = False
    any_points: bool = False


class AbstractNetworkConfig(abc.ABC):
    """A frozen dataclass of all sizes and choices of a network: its identity. Register it (`surrogax.register`) so that
    surrogates made of it can be saved.

    **Fields:** `self_contained`, whether a saved network can be rebuilt from its config and arrays alone.
    """

    self_contained: bool = True

    @abc.abstractmethod
    def build(self, signature: Signature, key: Array) -> "AbstractNetwork":
        """A network with new weights for inputs and outputs of this signature.

        **Raises:** `ValueError` for a signature that the network cannot serve.
        """


@register("NetworkBlueprint")
@dataclass(frozen=True)
class NetworkBlueprint(AbstractBlueprint):
    """A config and a signature: what a saved network is built from."""

    config: AbstractNetworkConfig
    signature: Signature

    def skeleton(self) -> "AbstractNetwork":
        return eqx.filter_eval_shape(self.config.build, self.signature, jax.random.key(0))


class AbstractNetwork(AbstractBuilt):
    """A network on one sample, or on a batch if its abilities say so.

    Files hold its config, its signature and its arrays, so that it may contain functions and modules of other libraries.

    **Fields:** `config` and `signature`, what it was built from; `abilities`.
    """

    config: eqx.AbstractVar[AbstractNetworkConfig]
    signature: eqx.AbstractVar[Signature]
    abilities: eqx.AbstractVar[Abilities]

    @property
    def blueprint(self) -> NetworkBlueprint:
        return NetworkBlueprint(self.config, self.signature)

    @abc.abstractmethod
    def initial_state(self) -> PyTree:
        """Arrays that training changes without an optimiser, such as running statistics; None without any."""

    @abc.abstractmethod
    def __call__(
        self, inputs: Inputs, *, key: Array | None, state: PyTree, train: bool
    ) -> tuple[Float[Array, "..."], PyTree]:
        """The output `(*query, out_channels)` in normalised values and the new state.

        `key` is for what is random in training; networks with a state that are not `batched` find the batch under the axis
        name "batch" of `vmap`.
        """
