"""Training of an FNO with a number of frequencies that grows: `with_modes` adds some, `mode_gradients` says whether they would
help."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...core.arguments import checked, count
from ...datasets.dataset import Dataset
from ..batching import Batch, batches
from ..networks.layers import SpectralConv
from ..networks.network_surrogate import NetworkSurrogate
from ..training.losses import AbstractFieldLoss, Loss, RelativeL2
from ..training.result import FitResult
from ..training.supervised import Supervised, frame_losses
from .fno import FourierNetwork
from .grid_frame import Modes


@checked
def with_modes(trained: NetworkSurrogate | FitResult, modes: int | Sequence[int]) -> NetworkSurrogate:
    """An `FNO` that has more frequencies and makes the same predictions: the coefficients R_l(k) of the new ones are zero.

    A training that begins with few frequencies is faster per step and learns the coarse structure first:

        model = sx.FNO(task, width=32, modes=4, key=key)
        for modes in (8, 16):
            model = sx.fit(model, train, optimizer=adam, epochs=50).last
            gradients = sx.mode_gradients(model, val, modes)
            if gradients[model.network.config.modes :].max() < 0.1 * gradients.max():
                break                                                        # the new frequencies would hardly help
            model = sx.with_modes(model, modes)

    **Arguments:** `trained`: the surrogate, or a result of `fit`, of which the last model of the first seed is taken; `modes`:
    frequencies per axis and sign, one number or one per axis, none smaller than before.

    **Raises:** `TypeError` for another network than an `FNO`; `ValueError` for spectral layers that are not dense (low rank,
    separable, real bases, `kept=…`), and for fewer frequencies.

    **Source:** George et al., "Incremental spatial and spectral learning of neural operators for solving large-scale PDEs", TMLR
    2024. They choose the number by the size of the coefficients in use; the gradient by those that are not in use yet is ours.

    **Example:**

        >>> model = sx.FNO(task, width=4, modes=3, depth=1, key=key)
        >>> more = sx.with_modes(model, 6)
        >>> bool(np.allclose(more.predict(ds)["u"], model.predict(ds)["u"], atol=1e-5))
        True
    """
    model = trained.lasts[0] if isinstance(trained, FitResult) else trained
    network = _checked_network("with_modes", model)
    wanted: Modes = modes if isinstance(modes, int) else tuple(modes)
    config, ndim = replace(network.config, modes=wanted), network.signature.domain.ndim
    old, new = network.config.kept_modes(ndim), config.kept_modes(ndim)
    if any(n < o for n, o in zip(new, old, strict=True)):
        raise ValueError(f"with_modes: {wanted} are fewer frequencies than the {network.config.modes} of the network")
    added = [n - o for n, o in zip(new, old, strict=True)][::-1]
    # The last axis of space has k ≥ 0 and comes first, the others have both signs.
    widths = [(0, added[0]), *((a // 2, a // 2) for a in added[1:]), (0, 0), (0, 0), (0, 0)]
    weights = [jnp.pad(layer.weight, widths) for layer in _layers(network)]
    grown = eqx.tree_at(
        lambda n: (n.lifting, n.projection, n.blocks),
        config.build(network.signature, jax.random.key(0)),
        (network.lifting, network.projection, network.blocks),
    )
    grown = eqx.tree_at(lambda n: [layer.weight for layer in _layers(n)], grown, weights)
    return NetworkSurrogate(grown, model.task, model.state)


@checked
def mode_gradients(
    trained: NetworkSurrogate | FitResult,
    data: Dataset,
    modes: int,
    *,
    loss: Loss | AbstractFieldLoss = RelativeL2(),  # noqa: B008 (frozen)
    batch_size: int = 20,
) -> Float[np.ndarray, " modes"]:
    """How much the loss of an `FNO` depends on the coefficients R_l(k) at every frequency: entry m is the norm of the derivatives
    by those of all layers with max_i |k_i| = m (m + 1 for the negative sign, which has one frequency more).

    Frequencies that the network does not have yet count too, as `with_modes` adds them: what a step of gradient descent would
    gain by them to first order is the square of their entries. The mean over n samples has noise at every frequency, 1/√n times
    the derivative of a single sample: give hundreds of samples.

    **Arguments:** `trained`, as in `with_modes`; `data`, on which the mean loss is taken, validation data for example; `modes`,
    the number of frequencies per axis, as many as the network has or more; `loss`, as in `fit`; `batch_size`.

    **Raises:** what `with_modes` raises; `ValueError` for data without samples.

    **Example:**

        >>> sx.mode_gradients(sx.FNO(task, width=4, modes=3, depth=1, key=key), ds, 6).shape
        (6,)
    """
    model, batch_size = with_modes(trained, modes), count("mode_gradients", "batch_size", batch_size)
    if not len(data):
        raise ValueError("mode_gradients: the dataset holds no samples")
    model.task.check(data)
    loss = Supervised.of(model.task, data, loss=loss).loss
    relative, names = model.about_origin(), tuple(dict.fromkeys((*model.task.input_names(), *model.task.targets)))
    weights_of = lambda model: [layer.weight for layer in _layers(model.network)]  # noqa: E731
    weights = weights_of(relative)

    @jax.jit
    def gradient(weights, batch, real):
        def value(weights):
            frames, _ = eqx.tree_at(weights_of, relative, weights).frames(batch)
            losses = frame_losses(loss, relative.task, frames, batch.fields)
            return jnp.where(jnp.arange(len(losses)) < real, losses, 0).sum()

        return jax.grad(value)(weights)

    total = [np.zeros(w.shape) for w in weights]
    for real, batch in batches(data, names, batch_size):
        batch = Batch(model.task.relative(batch.fields), batch.numbers)
        total = [t + np.asarray(g) for t, g in zip(total, gradient(weights, batch, real), strict=True)]
    squares = np.add.reduce([(g**2).sum((-3, -2, -1)) for g in total]) / len(data) ** 2
    shells = _shells(squares.shape)
    return np.sqrt(np.array([squares[shells == m].sum() for m in range(modes)]))


def _shells(kept: tuple[int, ...]) -> np.ndarray:
    """The shell of every frequency: max |k_i| with −k counted as k − 1, so that m frequencies per sign are the shells below m."""
    lines = [np.arange(kept[0]), *(np.where(k < 0, -k - 1, k) for k in (np.arange(n) - n // 2 for n in kept[1:]))]
    return np.max(np.meshgrid(*lines, indexing="ij"), 0)


def _layers(network: Any) -> list[Any]:
    return [block.spectral for block in network.blocks]


def _checked_network(call: str, model: NetworkSurrogate) -> FourierNetwork:
    network = model.network
    if not isinstance(network, FourierNetwork):
        raise TypeError(f"{call}: {type(network).__name__} is no FNO")
    dense = all(isinstance(layer, SpectralConv) for layer in _layers(network))
    if not dense or network.config.kept is not None:
        raise ValueError(
            f"{call}: the spectral layers of {network.config!r} are not dense in `modes` frequencies per sign; leave out "
            "factorization, separable, boundary and kept"
        )
    return network
