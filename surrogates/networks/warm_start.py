"""Fine-tuning: a new network that starts from the arrays of a trained one, also where channel counts differ."""

from collections.abc import Sequence

import equinox as eqx
import jax
from jaxtyping import Array

from ...core.arguments import checked
from ..trainable import trainable
from ..training.result import FitResult
from .network_surrogate import NetworkSurrogate


@checked
def warm_start(
    model: NetworkSurrogate, trained: NetworkSurrogate | FitResult, *, reinitialise: Sequence[str] = ()
) -> NetworkSurrogate:
    """Copy the arrays of a trained network into a new one for another task, as the start of a further training by `fit`.

        model = sx.FNO(task, width=32, modes=12, key=key)                   # the task has one more input field
        model = sx.warm_start(model, pretrained, reinitialise=("lifting",))

    Arrays are matched by their place in the network, such as `.blocks[0].spectral.weight`. Those that only one of the two has,
    or that differ in shape, are not passed over in silence: each must be named by `reinitialise`, and keeps the new network's
    initial values. The task, with its normalisation, is that of `model`; running statistics are copied where all of them match.

    **Arguments:**

    - `model`: a new surrogate, whose weights are replaced.
    - `trained`: the trained surrogate, or a result of `fit`, of which the best model of the first seed is taken.
    - `reinitialise`: beginnings of the places of arrays that keep their new values, without the first dot, such as
      `("lifting", "projection.layers[1]")`.

    **Raises:** `ValueError` that lists the arrays which do not match and are not named, and for a name that no array has.

    **Example:**

        >>> trained = sx.FNO(task, width=4, modes=4, depth=1, key=key)
        >>> model = sx.warm_start(sx.FNO(task, width=4, modes=4, depth=1, key=jax.random.key(1)), trained)
        >>> bool(np.allclose(model.predict(ds[:1])["u"], trained.predict(ds[:1])["u"]))
        True
    """
    source = trained.members[0] if isinstance(trained, FitResult) else trained
    if not isinstance(source, NetworkSurrogate):
        raise TypeError(f"warm_start: trained is a {type(source).__name__}, expected the surrogate of a network")
    new, old = _arrays(model), _arrays(source)
    names = tuple(reinitialise)
    unknown = [name for name in names if not any(_named(place, (name,)) for place in new.keys() | old.keys())]
    if unknown:
        raise ValueError(f"warm_start: no array lies at {unknown}; there are {_some(sorted(new))}")
    differ = [
        f"{place} {_shape(new, place)} here, {_shape(old, place)} in the trained network"
        for place in sorted(new.keys() | old.keys())
        if _shape(new, place) != _shape(old, place) and not _named(place, names)
    ]
    if differ:
        raise ValueError(
            f"warm_start: {len(differ)} arrays do not match: {_some(differ, '; ')}. Name those that shall keep their initial "
            'values, for example reinitialise=("lifting",)'
        )
    chosen = {place: old[place] for place in new if place in old and not _named(place, names)}
    network = jax.tree_util.tree_map_with_path(
        lambda path, leaf: chosen[_place(path)].astype(leaf.dtype) if _place(path) in chosen else leaf, model.network
    )
    same = jax.tree.structure(model.state) == jax.tree.structure(source.state) and all(
        a.shape == b.shape for a, b in zip(jax.tree.leaves(model.state), jax.tree.leaves(source.state), strict=True)
    )
    return NetworkSurrogate(network, model.task, source.state if same else model.state)


def _arrays(model: NetworkSurrogate) -> dict[str, Array]:
    """The trained arrays of a network by their place."""
    kept = eqx.filter(model.network, trainable(model.network))
    return {_place(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(kept)}


def _place(path) -> str:
    return jax.tree_util.keystr(path).removeprefix(".")


def _named(place: str, names: tuple[str, ...]) -> bool:
    return any(place == name or place.startswith((f"{name}.", f"{name}[")) for name in names)


def _shape(arrays: dict[str, Array], place: str) -> str:
    return f"{arrays[place].shape}" if place in arrays else "missing"


def _some(words: Sequence[str], between: str = ", ") -> str:
    return between.join(words[:6]) + (f"{between}…" if len(words) > 6 else "")
