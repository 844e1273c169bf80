"""Branches of DeepONets: from the inputs of a sample to the coefficients of its expansion."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..networks.layers import PointwiseMLP
from ..task.inputs import Inputs
from ..task.signature import Signature


class Branch(eqx.Module):
    """Coefficients b = B(z) of the input values z, or of several groups of them the product b = B_1(z_1) ⊙ … ⊙ B_m(z_m).

    With `joint` groups, z holds the values of all input fields at all sensors and all parameters. Else there is a group per
    channel of the input fields and one for the parameters (MIONet, Jin, Meng and Lu 2022).

    A `stacked` branch has a network of its own for every coefficient (Lu et al. 2021).
    """

    networks: tuple[PointwiseMLP, ...]
    signature: Signature = eqx.field(static=True)
    joint: bool = eqx.field(static=True)
    stacked: bool = eqx.field(static=True)

    def __init__(
        self, signature: Signature, hidden: tuple[int, ...], out: int, activation: str, *, product: bool, stacked: bool,
        key: Array,
    ):  # fmt: skip
        self.signature, self.joint, self.stacked = signature, not product, stacked

        def network(size: int, key: Array):
            if not stacked:
                return PointwiseMLP(size, *hidden, out, activation=activation, key=key)
            keys = jax.random.split(key, out)
            return eqx.filter_vmap(lambda key: PointwiseMLP(size, *hidden, 1, activation=activation, key=key))(keys)

        sizes = self._sizes()
        self.networks = tuple(
            network(size, k) for size, k in zip(sizes, jax.random.split(key, len(sizes)), strict=True)
        )

    def __call__(self, inputs: Inputs) -> Float[Array, " out"]:
        groups = self._groups(inputs)
        coefficients = [self._applied(network, z) for network, z in zip(self.networks, groups, strict=True)]
        return math.prod(coefficients[1:], start=coefficients[0])

    def _applied(self, network: PointwiseMLP, z: Float[Array, " n"]) -> Float[Array, " out"]:
        if not self.stacked:
            return network(z)
        return eqx.filter_vmap(lambda own: own(z))(network)[:, 0]

    def _sizes(self) -> list[int]:
        """Length of every group."""
        signature, parts = self.signature, []
        for source in signature.sources:
            sensors = math.prod(source.domain.shape[source.repeated :])
            parts += [sensors] * source.channels
        parts += [signature.params] * (signature.params > 0)
        return [sum(parts)] if self.joint else parts

    def _groups(self, inputs: Inputs) -> list[Float[Array, " n"]]:
        """The values of every group. **Raises:** `ValueError` for fields at another number of points than in training."""
        parts = []
        for source, given in zip(self.signature.sources, inputs.sources, strict=True):
            if given.values.shape[:-1] != source.domain.shape:
                raise ValueError(
                    f"DeepONet reads its inputs at the points of training, {source.domain.shape} of them, and got "
                    f"{given.values.shape[:-1]}; give the inputs there, and at=… for predictions elsewhere"
                )
            values = given.values[0] if source.repeated else given.values
            parts += list(values.reshape(-1, source.channels).T)
        parts += [] if inputs.params is None else [inputs.params]
        return [jnp.concatenate(parts)] if self.joint else parts


def check_inputs(name: str, signature: Signature, product: bool) -> None:
    """**Raises:** `ValueError`, which begins with `name`, for a task without inputs, or for a product of one factor."""
    factors = sum(source.channels for source in signature.sources) + (signature.params > 0)
    if not factors:
        raise ValueError(f"{name}: the task has no inputs, so that there is nothing for a branch to read")
    if product and factors < 2:
        raise ValueError(
            f"{name}(product=True): the task has one input; a product needs two channels of input fields or more, or parameters"
        )
