"""Physics-informed Gaussians in a number that changes: `with_gaussians` adds some where the residual is large, or takes away
those that matter least."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ...core.arguments import checked, count, random_key
from ...core.precision import in_double
from ..trainable import is_double
from ..training.result import FitResult
from .models import GaussianBuilder
from .residual import Residual
from .sampling import UniformSampler
from .trial_functions import Gaussians
from .trial_surrogate import TrialSurrogate

_CANDIDATES = 20  # for every new Gaussian, at least 1000


@checked
def with_gaussians(trained: TrialSurrogate | FitResult, gaussians: int, *, key: Array) -> TrialSurrogate:
    """A `PIG` with more or fewer Gaussians per feature.

        pig = sx.fit(sx.PIG(problem, gaussians=20, key=key), sampler=sx.R3(2000), optimizer=optimizer, steps=100)
        pig = sx.fit(sx.with_gaussians(pig, 40, key=key), sampler=sx.R3(2000), optimizer=optimizer, steps=100)

    New ones have the weight 0, so that the solution stays what it was. Their centres are drawn from uniform points with a
    probability in proportion to the squared residual, for every feature anew; their widths are the medians of those that are
    there. Of fewer ones those stay that have the largest norm in L², |w| ∏ σ_i^½ for the weight w and the widths σ_i, up to a
    factor that all have.

    **Arguments:** `trained`: the surrogate, or a result of `fit`, of which the last model of the first seed is taken;
    `gaussians`: their number per feature, 1 or more.

    **Raises:** `TypeError` for another trial function than that of `PIG`, and under `jit` and `vmap`, since shapes change;
    `ValueError` for a residual that is not finite.

    **Example:**

        >>> line = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx + 2)
        >>> pig = sx.PIG(line, gaussians=10, key=key)
        >>> more = sx.with_gaussians(pig, 15, key=key)
        >>> bool(np.allclose(more.predict({})["u"], pig.predict({})["u"]))
        True
    """
    model: Any = trained.lasts[0] if isinstance(trained, FitResult) else trained
    gaussians, key = count("with_gaussians", "gaussians", gaussians), random_key("with_gaussians", key)
    if not (isinstance(model, TrialSurrogate) and isinstance(model.function, Gaussians)):
        inside = model.function if isinstance(model, TrialSurrogate) else model
        raise TypeError(f"with_gaussians: {type(inside).__name__} has no Gaussians; make a model by PIG(problem, …)")
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((model, key))):
        raise TypeError("with_gaussians changes shapes and looks at numbers; call it outside of jit, vmap and grad")
    resized = in_double(_resized) if is_double(model) else _resized
    build = model.settings.build
    assert isinstance(build, GaussianBuilder)
    settings = replace(model.settings, build=replace(build, gaussians=gaussians))
    return TrialSurrogate(
        function=resized(model, gaussians, key),
        learned=model.learned,
        task=model.task,
        settings=settings,
        split=model.split,
    )


def _resized(model: TrialSurrogate, number: int, key: Array) -> Gaussians:
    function: Any = model.function
    features, now, _ = function.centres.shape
    parts = (function.centres, function.shapes, function.amplitudes)
    if number <= now:
        kept = jnp.argsort(-_norms(function), axis=1)[:, :number]
        taken = jax.tree.map(lambda x: jax.vmap(lambda row, i: row[i])(jnp.asarray(x), kept), parts)
    else:
        new = number - now
        points, residual = _candidates(model, max(1000, _CANDIDATES * new), key)
        starts, lengths = (jnp.asarray([span[i] for span in function.spans], points.dtype) for i in (0, 1))
        if not jnp.isfinite(residual).all():
            raise ValueError(f"with_gaussians: the residual of {model.settings.problem!r} is not finite everywhere")
        weight = (residual / residual.max()) ** 2 if residual.max() > 0 else jnp.ones_like(residual)
        draw = lambda k: jax.random.choice(k, len(points), (new,), replace=False, p=weight / weight.sum())  # noqa: E731
        chosen = jax.vmap(draw)(jax.random.split(jax.random.fold_in(key, 1), features))
        widths = _median_shapes(function)
        shapes = jnp.broadcast_to(widths, (features, new, *widths.shape[2:]))
        added = (2 * (points[chosen] - starts) / lengths, shapes, jnp.zeros((features, new), points.dtype))
        taken = jax.tree.map(lambda old, more: jnp.concatenate([old, more.astype(old.dtype)], 1), parts, added)
    return eqx.tree_at(lambda f: (f.centres, f.shapes, f.amplitudes), function, taken)


def _median_shapes(function: Gaussians) -> Float[Array, "k 1 *d"]:
    """The median widths per axis, or of Gaussians that turn a multiple of the identity. Their signs mean nothing."""
    shapes = jnp.asarray(function.shapes)
    if shapes.ndim == function.centres.ndim:
        return jnp.median(jnp.abs(shapes), 1, keepdims=True)
    dimension = shapes.shape[-1]
    scale = jnp.median(jnp.abs(jnp.linalg.det(shapes)) ** (1 / dimension), 1)
    return scale[:, None, None, None] * jnp.eye(dimension, dtype=shapes.dtype)


def _norms(function: Gaussians) -> Float[Array, "k n"]:
    """|w| ∏ σ_i^½ of every Gaussian, with |det A|^−1 for the product where it turns."""
    shapes = jnp.asarray(function.shapes)
    full = shapes.ndim > function.centres.ndim
    volume = 1 / jnp.abs(jnp.linalg.det(shapes)) if full else jnp.abs(shapes).prod(-1)
    return jnp.abs(function.amplitudes) * jnp.sqrt(volume)


def _candidates(model: TrialSurrogate, number: int, key: Array) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """Uniform points with numbers of the problem, and the size of the residual there."""
    objective = Residual(problem=model.settings.problem, sampler=UniformSampler(number))
    points = objective.draw(objective.init(key), None, key)
    residual, *_ = eqx.filter_jit(lambda model, points: objective.value(model, points)[1].memory)(model, points)
    numbers = [points.inside.numbers[name][:, None] for name in model.settings.problem.laws]
    return jnp.concatenate([points.inside.points, *numbers], 1), residual
