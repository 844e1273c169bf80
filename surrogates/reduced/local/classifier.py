"""Classifiers that choose a local basis from parameters or reduced inputs, before the solution is known."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ....core.arguments import checked
from ....core.minimize import minimize
from ....core.storage import register
from ...networks.layers import PointwiseMLP
from ..regression.input_scaling import InputScaling, Log
from ..regression.per_point import checked_rows
from ..regression.tanh_network import tanh_network

KINDS = ("network", "logistic", "nearest")
_SHARPNESS = 2.0  # shares fall with this power of the errors
_WIDTHS = (32, 32)
_STEPS = 1500
_NEIGHBOURS = 5


@register("Classifier")
class Classifier(eqx.Module):
    """z -> probabilities `(K,)` of the local bases; under jit, vmap and grad.

    **Example:**

        >>> z = np.linspace(0, 1, 20)[:, None]
        >>> rule = sx.reduced.fit_classifier("nearest", z, (z[:, 0] > 0.5).astype(int), k=2)
        >>> type(rule).__name__
        'Classifier'
    """

    scaling: InputScaling
    rule: "SoftmaxNetwork | NearestNeighbours"

    def __call__(self, z) -> Float[Array, "*n k"]:
        """Of one z `(d,)`, or of many `(n, d)`; the scaling of NumPy arrays is done in float64."""
        x = jnp.asarray(self.scaling(z if isinstance(z, jax.Array) else np.asarray(z, np.float64)), jnp.float32)
        d = self.scaling.shift.shape[0]
        if x.shape[-1:] != (d,) or x.ndim > 2:
            raise ValueError(f"inputs of shape {x.shape}; expected ({d},) for one or (n, {d}) for many")
        return self.rule(x) if x.ndim == 1 else jax.vmap(self.rule)(x)

    def top(self, z: Float[Array | np.ndarray, " d"], count: int = 2) -> tuple[Int[Array, " c"], Float[Array, " c"]]:
        """The `count` most probable bases and their shares, which sum to one: evaluate each and keep the better one, or
        blend the fields with the shares. All bases where there are fewer than `count`."""
        shares = self(z)
        shares, labels = jax.lax.top_k(shares, min(count, len(shares)))
        return labels, shares / jnp.sum(shares)


@register("SoftmaxNetwork")
class SoftmaxNetwork(eqx.Module):
    """softmax of a network with tanh layers; of a linear map if it has no hidden layer."""

    network: PointwiseMLP

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " k"]:
        return jnp.exp(self.log_shares(x))

    def log_shares(self, x: Float[Array, "*n d"]) -> Float[Array, "*n k"]:
        """Logarithms of the probabilities, of many inputs at once."""
        return jax.nn.log_softmax(self.network(x))


@register("NearestNeighbours")
class NearestNeighbours(eqx.Module):
    """Mean target of the nearest points of the fit, in distances that weigh each input by its `relevance`."""

    points: Float[Array, "n d"]
    targets: Float[Array, "n k"]
    relevance: Float[Array, " d"]
    count: int = eqx.field(static=True)

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, " k"]:
        _, nearest = jax.lax.top_k(-jnp.sum(((self.points - x) * self.relevance) ** 2, axis=1), self.count)
        return jnp.mean(self.targets[nearest], axis=0)


@checked
def fit_classifier(
    kind: str,
    z: Float[Array | np.ndarray, "n d"],
    labels: Int[Array | np.ndarray, " n"],
    *,
    k: int,
    errors: Float[Array | np.ndarray, "n k"] | None = None,
    log: Log = "auto",
    key: Array | None = None,
) -> Classifier:
    """A classifier from inputs z, in any units (`InputScaling`), to the K bases.

    With the `errors` e_k of every training snapshot on every basis (`LocalBases.projection_errors`) its target is the shares
    p_k ∝ e_k^−2: to confuse two bases that serve equally well costs nothing, to take a wrong one costs much.

    **Arguments:**

    - `kind`: "network" (two layers of 32 tanh units, AdamW; with `errors` least squares on log p_k, otherwise
      cross-entropy), "logistic" (linear logits, L-BFGS), "nearest" (mean over 5 neighbours; z with few features that all
      matter).
    - `z`: parameters, time, coefficients of input fields in a POD basis.
    - `labels`: cluster of every snapshot, for example `LocalBases.labels`; not used where `errors` are given.
    - `k`: number of bases.
    - `log`: the inputs that enter by their logarithm: "auto" (those that spread over decades), or the numbers of their columns.
    - `key`: of the network's first weights.

    **Raises:** `ValueError` for an unknown kind, NaN in z or `errors`, labels outside 0 … k − 1, `errors` of another shape.

    **Example:**

        >>> z = np.linspace(0, 1, 20)[:, None]
        >>> rule = sx.reduced.fit_classifier("nearest", z, (z[:, 0] > 0.5).astype(int), k=2)
        >>> int(np.argmax(rule(np.array([0.9]))))
        1
    """
    if kind not in KINDS:
        raise ValueError(f"fit_classifier: unknown kind {kind!r}; use 'network', 'logistic' or 'nearest'")
    z, labels = checked_rows("fit_classifier", "inputs", z), np.asarray(labels)
    if labels.shape != (len(z),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"fit_classifier: labels of shape {labels.shape} and type {labels.dtype} for {len(z)} inputs; expected "
                         "one whole number per input")  # fmt: skip
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"fit_classifier: labels in {labels.min()} … {labels.max()} for k={k} bases")
    errors = None if errors is None else checked_rows("fit_classifier", "errors", errors)
    if errors is not None and errors.shape != (len(z), k):
        raise ValueError(f"fit_classifier: errors of shape {errors.shape}, expected {(len(z), k)}")
    scaling = InputScaling.fit(z, log)
    scaled = np.asarray(scaling(z))
    x = jnp.asarray(scaled, jnp.float32)
    targets = jax.nn.one_hot(labels, k) if errors is None else jnp.asarray(_shares(errors), jnp.float32)
    if kind == "nearest":
        relevance = jnp.asarray(_relevance(scaled, np.asarray(targets)), jnp.float32)
        return Classifier(scaling, NearestNeighbours(x, targets, relevance, min(_NEIGHBOURS, len(z))))
    key, features = jax.random.key(0) if key is None else key, x.shape[1]
    if kind == "logistic":
        start = SoftmaxNetwork(tanh_network(features, k, energy=features, key=key))
        return Classifier(scaling, _logistic(start, x, targets))
    start = SoftmaxNetwork(tanh_network(features, *_WIDTHS, k, energy=features, key=key))
    loss = _cross_entropy if errors is None else _squared_error_of_logarithms
    return Classifier(scaling, _trained(start, x, targets, loss))


def _shares(errors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    errors = np.maximum(errors.astype(np.float64), 1e-7)  # of float32 bases
    shares = (errors.min(1, keepdims=True) / errors) ** _SHARPNESS
    return shares / shares.sum(1, keepdims=True)


def _relevance(z: Float[np.ndarray, "n d"], targets: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " d"]:
    """Weight of every feature in the distance, between 0.01 and 1: how much better than by chance the targets of two
    neighbours along that feature alone agree. Without it an amplitude, to which normalised bases are blind, could dominate."""
    chance = np.sum(targets.mean(0) ** 2)
    agreement = []
    for feature in z.T:
        ordered = targets[np.argsort(feature, kind="stable")]
        agreement.append(np.mean(np.sum(ordered[1:] * ordered[:-1], axis=1)))
    return np.clip((np.array(agreement) - chance) / max(np.mean(np.sum(targets**2, axis=1)) - chance, 1e-3), 0.01, 1)


def _cross_entropy(log_shares, targets):
    return -jnp.mean(jnp.sum(targets * log_shares, axis=1))


def _squared_error_of_logarithms(log_shares, targets):
    """Least squares weigh a bad basis as much as the best one; cross-entropy hears of the best alone."""
    difference = log_shares - jnp.log(targets)
    difference -= jnp.mean(difference, axis=1, keepdims=True)
    return jnp.mean(difference**2) / _SHARPNESS**2


@jax.jit
def _logistic(start: SoftmaxNetwork, x, targets) -> SoftmaxNetwork:
    def loss(rule):
        return _cross_entropy(rule.log_shares(x), targets) + 1e-4 * optax.tree.norm(rule, squared=True)

    return minimize(loss, start, optax.lbfgs(), 200)[0]


@partial(jax.jit, static_argnames="loss")
def _trained(start: SoftmaxNetwork, x, targets, loss: Callable) -> SoftmaxNetwork:
    optimizer = optax.adamw(optax.cosine_decay_schedule(1e-2, _STEPS), weight_decay=0.1)
    return minimize(lambda rule: loss(rule.log_shares(x), targets), start, optimizer, _STEPS)[0]
