"""Networks in the form of another library: FNO and TFNO of neuraloperator 2.0, from their parameters and back."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...core.arguments import kind
from ...core.domains import Grid
from ..networks.factorized import Factorization, FactorizedSpectralConv
from ..networks.layers import SpectralConv
from ..task.signature import Signature, SourceSignature
from .fno import NEURALOPERATOR, FNOConfig, FourierNetwork


def from_neuraloperator(parameters: Mapping[str, np.ndarray], *, padding: float = 0.0) -> FourierNetwork:
    """Build the network that computes the same function, up to rounding, as a trained `neuralop.models.FNO` or `TFNO` (version
    2.0).

    The model must have neuraloperator's default graph (linear skips, channel MLPs with soft gating, no norm), with weights
    that are dense or factorised by "tucker", "cp" or "tt". Sizes and ranks are read off the parameters. Use the network on
    "periodic" grids of the unit box, whose points j/n are those of neuraloperator's grid embedding. `to_neuraloperator` is the
    inverse.

    **Arguments:**

    - `parameters`: `{name: p.detach().numpy() for name, p in model.named_parameters()}`.
    - `padding`: the model's `domain_padding`.

    **Raises:** `KeyError` for a model of another graph, if the names of its parameters differ; `ValueError` for parameters whose
    shapes do not fit together, such as separable weights. A missing grid embedding and norms without parameters do not change
    names or shapes and are not noticed.

    **Example:**

        >>> from surrogax.surrogates.operators import NEURALOPERATOR, from_neuraloperator, to_neuraloperator
        >>> parameters = to_neuraloperator(sx.FNO(task, width=4, modes=4, depth=1, **NEURALOPERATOR, key=key).network)
        >>> from_neuraloperator(parameters).config.width
        4
    """
    p = parameters
    form = _form(p)
    depth = len({name.split(".")[2] for name in p if name.startswith("fno_blocks.convs.") and ".weight." in name})
    expected = _names(max(depth, 1), form, len(_factors(p)))
    wrong = [*sorted(expected - set(p)), *sorted(set(p) - expected)]
    if wrong:
        listed = ", ".join(f"{'no' if name in expected else 'unknown'} {name!r}" for name in wrong[:4])
        raise KeyError(
            f"{listed}{', …' if len(wrong) > 4 else ''} among the parameters: expected those of the default graph of "
            "neuralop.models.FNO 2.0 (linear skips, channel MLPs with soft gating, no norm; dense, Tucker, CP or TT weights)"
        )
    if form is None:
        kept, weights = p["fno_blocks.convs.0.weight.tensor"].shape[2:], {}
    else:
        shapes = [factor.shape for factor in _factors(p)]
        sizes = [shape[1 if form == "tt" else 0] for shape in shapes]
        ranks = [shape[-1] for shape in shapes]
        ranks = ranks[:1] if form == "cp" else ranks[:-1] if form == "tt" else ranks
        kept, weights = tuple(sizes[2:]), {"factorization": form, "rank": tuple(ranks)}
    width, hidden = p["lifting.fcs.1.weight"].shape[:2]
    config = FNOConfig(
        width=width,
        kept=tuple(kept),
        depth=depth,
        padding=padding,
        **{
            **NEURALOPERATOR,
            **weights,
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
    entries = _entries(network)
    values = []
    for entry in entries:
        value, own = entry.ours(np.asarray(p[entry.name])), entry.get(network)
        if value.shape != own.shape:
            raise ValueError(
                f"from_neuraloperator: {entry.name!r} has shape {p[entry.name].shape}, which does not fit the other parameters; "
                "separable weights are not supported"
            )
        values.append(jnp.asarray(value, own.dtype))
    return eqx.tree_at(lambda n: [entry.get(n) for entry in entries], network, values)


def to_neuraloperator(network: FourierNetwork) -> dict[str, np.ndarray]:
    """The parameters of the `neuralop.models.FNO` or `TFNO` (version 2.0) that computes the same function as a network of its
    form, by name: `model.load_state_dict({name: torch.from_numpy(p) for name, p in parameters.items()}, strict=False)`.

    The network was made by `from_neuraloperator`, or by `FNO(task, **NEURALOPERATOR, …)` with lifting and projection of one
    hidden layer, on a periodic grid, trained or not. The model is built with `n_modes` = `network.config.kept`, with 2 (m − 1)
    in place of the last number m, with the same width, depth, ratios and, for a TFNO, ranks.

    **Raises:** `TypeError` for another network; `ValueError` for a network of another form, and one that reads parameters or sees
    coordinates of another kind.

    **Example:**

        >>> from surrogax.surrogates.operators import NEURALOPERATOR, to_neuraloperator
        >>> parameters = to_neuraloperator(sx.FNO(task, width=4, modes=4, depth=1, **NEURALOPERATOR, key=key).network)
        >>> parameters["lifting.fcs.1.weight"].shape[0]
        4
    """
    kind("to_neuraloperator", "network", network, FourierNetwork, "pass the network of an FNO, surrogate.network")
    config, signature = network.config, network.signature
    wanted = {**NEURALOPERATOR, "boundary": "periodic", "separable": False, "local": ()}
    free = ("lifting", "projection", "channel_mlp", "init")
    differs = [name for name, value in wanted.items() if name not in free and vars(config)[name] != value]
    one_layer = all(len(mlp.layers) == 2 for mlp in (network.lifting, network.projection))
    if differs or config.channel_mlp is None or not one_layer:
        raise ValueError(
            f"to_neuraloperator: the network is not of neuraloperator's form ({', '.join(differs) or 'its pointwise networks'}); "
            "build it with FNO(task, **NEURALOPERATOR)"
        )
    if signature.params or set(signature.domain.as_grid("to_neuraloperator").layouts) != {"periodic"}:
        raise ValueError(
            "to_neuraloperator: neuraloperator reads fields alone, at the points j/n; this network needs a task without "
            "parameters on a grid of the layout 'periodic'"
        )
    return {entry.name: entry.theirs(np.asarray(entry.get(network))) for entry in _entries(network)}


class Entry(NamedTuple):
    """A parameter of neuraloperator: its name, our array in a network, and the form of either made from the other."""

    name: str
    get: Callable[[Any], Any]
    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


def _entries(network: FourierNetwork) -> list[Entry]:
    ndim = network.signature.ndim
    ones, found = (1,) * ndim, []

    def pointwise(name: str, get, bias: bool = True):
        found.append(
            Entry(
                f"{name}.weight",
                lambda n: get(n).weight,
                lambda w: w.reshape(w.shape[:2]).T,
                lambda w: np.ascontiguousarray(w.T)[..., None],
            )
        )
        if bias:
            found.append(Entry(f"{name}.bias", lambda n: get(n).bias, np.ravel, lambda b: b))

    def mlp(name: str, get):
        for j in range(2):
            pointwise(f"{name}.fcs.{j}", lambda n, j=j: get(n).layers[j])

    mlp("lifting", lambda n: n.lifting)
    mlp("projection", lambda n: n.projection)
    for i, block in enumerate(network.blocks):
        prefix, at = "fno_blocks", lambda n, i=i: n.blocks[i]
        conv = f"{prefix}.convs.{i}"
        found.append(
            Entry(f"{conv}.bias", lambda n, at=at: at(n).spectral.bias, np.ravel, lambda b: b.reshape(-1, *ones))
        )
        if isinstance(block.spectral, SpectralConv):
            found.append(
                Entry(f"{conv}.weight.tensor", lambda n, at=at: at(n).spectral.weight, _dense_ours, _dense_theirs)
            )
        elif isinstance(block.spectral, FactorizedSpectralConv):
            for j, name in enumerate(_factor_names(block.spectral.factorization, ndim + 2)):
                found.append(
                    Entry(
                        f"{conv}.weight.{name}", lambda n, at=at, j=j: at(n).spectral.factors[j], _parts_ours, _parts_theirs
                    )
                )  # fmt: skip
        pointwise(f"{prefix}.fno_skips.{i}.conv", lambda n, at=at: at(n).skip, bias=False)
        mlp(f"{prefix}.channel_mlp.{i}", lambda n, at=at: at(n).channel_mlp)
        gate = f"{prefix}.channel_mlp_skips.{i}.weight"
        found.append(Entry(gate, lambda n, at=at: at(n).gate, np.ravel, lambda g: g.reshape(1, -1, *ones)))
    return found


def _dense_ours(weight: np.ndarray) -> np.ndarray:
    """(in, out, *kept), complex, to (*reversed kept, in, 2, out)."""
    turned = np.transpose(weight, (*range(2, weight.ndim)[::-1], 0, 1))
    return np.stack([np.real(turned), np.imag(turned)], -2)


def _dense_theirs(weight: np.ndarray) -> np.ndarray:
    d = weight.ndim - 3
    return np.transpose(weight[..., 0, :] + 1j * weight[..., 1, :], (d, d + 1, *range(d)[::-1]))


def _parts_ours(factor: np.ndarray) -> np.ndarray:
    return np.stack([np.real(factor), np.imag(factor)], -1)


def _parts_theirs(factor: np.ndarray) -> np.ndarray:
    return factor[..., 0] + 1j * factor[..., 1]


def _form(p: Mapping[str, np.ndarray]) -> Factorization | None:
    """How the weights of the first block are factorised."""
    weight = "fno_blocks.convs.0.weight"
    if f"{weight}.core" in p:
        return "tucker"
    if f"{weight}.weights" in p:
        return "cp"
    return "tt" if f"{weight}.factors.factor_0" in p else None


def _factors(p: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    names = [name for name in p if name.startswith("fno_blocks.convs.0.weight.factors.factor_")]
    return [p[name] for name in sorted(names, key=lambda name: int(name.rsplit("_", 1)[1]))]


def _factor_names(form: Factorization | None, axes: int) -> list[str]:
    """Names of the arrays of a weight with so many axes, in our order."""
    first = {None: ["tensor"], "tucker": ["core"], "cp": ["weights"], "tt": []}[form]
    return first if form is None else [*first, *(f"factors.factor_{j}" for j in range(axes))]


def _names(depth: int, form: Factorization | None, axes: int) -> set[str]:
    """Names of the parameters of the default graph with `depth` blocks."""
    mlps = ["lifting", "projection", *(f"fno_blocks.channel_mlp.{i}" for i in range(depth))]
    weights = tuple(f"convs.{{}}.weight.{name}" for name in _factor_names(form, axes))
    others = (*weights, "convs.{}.bias", "fno_skips.{}.conv.weight", "channel_mlp_skips.{}.weight")
    return {f"{mlp}.fcs.{j}.{part}" for mlp in mlps for j in (0, 1) for part in ("weight", "bias")} | {
        f"fno_blocks.{name.format(i)}" for name in others for i in range(depth)
    }
