"""Networks trained with other libraries: the FNO of neuraloperator 2.0, from its parameters."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...core.domains import Grid
from ..networks.layers import Pointwise, PointwiseMLP
from ..task.signature import Signature, SourceSignature
from .fno import NEURALOPERATOR, FNOConfig, FourierNetwork


def from_neuraloperator(parameters: Mapping[str, np.ndarray], *, padding: float = 0.0) -> FourierNetwork:
    """Build the network that computes the same function, up to rounding, as a trained `neuralop.models.FNO` (version 2.0).

    The model must have neuraloperator's default graph: dense weights, linear skips, channel MLPs with soft gating, no norm. Sizes
    are read off the parameters. Use the network on "periodic" grids of the unit box, whose points j/n are those of
    neuraloperator's grid embedding.

    **Arguments:**

    - `parameters`: `{name: p.detach().numpy() for name, p in model.named_parameters()}`.
    - `padding`: the model's `domain_padding`.

    **Raises:** `KeyError` for a model of another graph, if the names of its parameters differ. Separable weights, a missing grid
    embedding and norms without parameters do not change the names and are not noticed.
    """
    p = parameters
    depth = sum(name.startswith("fno_blocks.convs.") and name.endswith(".weight.tensor") for name in p)
    expected = _names(max(depth, 1))
    wrong = [*sorted(expected - set(p)), *sorted(set(p) - expected)]
    if wrong:
        listed = ", ".join(f"{'no' if name in expected else 'unknown'} {name!r}" for name in wrong[:4])
        raise KeyError(
            f"{listed}{', …' if len(wrong) > 4 else ''} among the parameters: expected those of the default graph of "
            "neuralop.models.FNO 2.0 (dense weights, linear skips, channel MLPs with soft gating, no norm)"
        )
    _, _, *kept = p["fno_blocks.convs.0.weight.tensor"].shape
    width, hidden = p["lifting.fcs.1.weight"].shape[:2]
    config = FNOConfig(
        width=width,
        kept=tuple(kept),
        depth=depth,
        padding=padding,
        **{
            **NEURALOPERATOR,
            "lifting": (hidden,),
            "projection": (p["projection.fcs.0.weight"].shape[0],),
            "channel_mlp": p["fno_blocks.channel_mlp.0.fcs.0.weight"].shape[0] / width,
        },
    )
    # The network does not depend on the number of points of this grid.
    grid = Grid.unit((4,) * len(kept), layout="periodic")
    channels = p["lifting.fcs.0.weight"].shape[1] - len(kept)
    signature = Signature((SourceSignature(channels, grid),), 0, p["projection.fcs.1.weight"].shape[0], grid)
    network = config.build(signature, jax.random.key(0))

    def pointwise(layer: Pointwise, name: str) -> Pointwise:
        weight = p[f"{name}.weight"]
        layer = eqx.tree_at(lambda x: x.weight, layer, jnp.asarray(weight.reshape(weight.shape[:2]).T))
        return layer if layer.bias is None else eqx.tree_at(lambda x: x.bias, layer, jnp.asarray(p[f"{name}.bias"]))

    def mlp(layers: PointwiseMLP | None, name: str) -> PointwiseMLP:
        assert layers is not None  # the default graph has them all
        new = tuple(pointwise(layer, f"{name}.fcs.{i}") for i, layer in enumerate(layers.layers))
        return eqx.tree_at(lambda m: m.layers, layers, new)

    blocks = []
    for i, block in enumerate(network.blocks):
        weight = p[f"fno_blocks.convs.{i}.weight.tensor"]  # in, out, *kept
        weight = np.transpose(weight, (*range(2, weight.ndim)[::-1], 0, 1))
        new = (
            jnp.asarray(np.stack([np.real(weight), np.imag(weight)], -2)),
            jnp.asarray(p[f"fno_blocks.convs.{i}.bias"].ravel()),
            pointwise(block.skip, f"fno_blocks.fno_skips.{i}.conv"),
            mlp(block.channel_mlp, f"fno_blocks.channel_mlp.{i}"),
            jnp.asarray(p[f"fno_blocks.channel_mlp_skips.{i}.weight"].ravel()),
        )
        where = lambda b: (b.spectral.weight, b.spectral.bias, b.skip, b.channel_mlp, b.gate)  # noqa: E731
        blocks.append(eqx.tree_at(where, block, new))
    return eqx.tree_at(
        lambda n: (n.lifting, n.projection, n.blocks),
        network,
        (mlp(network.lifting, "lifting"), mlp(network.projection, "projection"), tuple(blocks)),
    )


def _names(depth: int) -> set[str]:
    """Names of the parameters of the default graph with `depth` blocks."""
    mlps = ["lifting", "projection", *(f"fno_blocks.channel_mlp.{i}" for i in range(depth))]
    others = ("convs.{}.weight.tensor", "convs.{}.bias", "fno_skips.{}.conv.weight", "channel_mlp_skips.{}.weight")
    return {f"{mlp}.fcs.{j}.{part}" for mlp in mlps for j in (0, 1) for part in ("weight", "bias")} | {
        f"fno_blocks.{name.format(i)}" for name in others for i in range(depth)
    }
