"""`check_surrogate` checks the contract that every surrogate keeps. Call it in the tests of your own surrogates."""

import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..core.arguments import kind
from ..core.domains import PointCloud
from ..datasets.dataset import Dataset
from ..solvers.kernels.interpolate import apply_along_axes
from .batching import Batch, batches
from .resampling import interpolation
from .rollout import forecast
from .saving import load
from .surrogate import AbstractSurrogate, about_origin
from .synthetic_data import relative_dataset, synthetic_dataset
from .trainable import AbstractTrainable, trainable
from .training.result import FitResult, members_of


def check_surrogate(surrogate: AbstractSurrogate | FitResult, data: Dataset | None = None) -> None:
    """Check that a surrogate keeps the contract of this library.

    The checks are:

    - Every target is predicted with the right shape and finite values, for a batch and for one sample under jit.
    - A sample has the same prediction alone, in a batch and in a batch of 33, and the same every time.
    - `needs_input`: different samples have different predictions. Without the flag, changed inputs do not change the prediction.
    - `differentiable`: the gradients with respect to every input field and every parameter are finite and agree with finite
      differences.
    - `resolution_free`: the prediction on a finer grid has its shape, and is closer to the interpolated prediction on the grid of
      the task than to other fields: to its mean, its transpose and the prediction of another sample.
    - `any_points`: the prediction at single points equals the prediction at all points, there.
    - `autoregressive`: it rolls out, and the first frames are those of `predict`.
    - `has_std`: the standard deviation has the shapes of the prediction, is finite and not negative, and depends on the input.
    - `has_samples`: draws have the shapes of the prediction, are finite, differ, and depend on the key and the sample only.
    - `savable`: a saved and loaded surrogate predicts the same numbers bit for bit.
    - Every trained array of a network surrogate has a gradient: the prediction depends on it.

    A named check is skipped only if `surrogate.capabilities` lacks the flag.

    **Arguments:**

    - `surrogate`: a surrogate or a result of `fit`, of which the first seed is checked.
    - `data`: samples to check on, two or more; by default synthetic ones (`synthetic_dataset`).

    **Raises:** `AssertionError` that names the first broken part of the contract; `TypeError` for anything but a surrogate.

    **Example:**

        >>> sx.check_surrogate(sx.MeanField(task), ds)
    """
    surrogate = members_of(surrogate)[0]
    kind("check_surrogate", "surrogate", surrogate, AbstractSurrogate, "pass a surrogate or a result of fit")
    kind("check_surrogate", "data", data, (Dataset, type(None)), "pass a dataset with the inputs of the task")
    data = synthetic_dataset(surrogate.task) if data is None else data
    if about_origin(surrogate).task.origins != surrogate.task.origins:
        # Single precision does not resolve the physical values; the surrogate is the same about its origin.
        data, surrogate = relative_dataset(surrogate.task, data), about_origin(surrogate)
    task, can = surrogate.task, surrogate.capabilities
    n = min(4, len(data))
    assert n >= 2, "check_surrogate needs at least two samples"
    samples = data.select(slice(0, n))
    history = task.mode.history if task.mode.ahead else None
    batch = jax.tree.map(jnp.asarray, next(batches(samples, task.input_names(), n, history))[1])
    one, other = (jax.tree.map(lambda x, i=i: x[i], batch.fields) for i in (0, 1))

    predicted = surrogate.predict(samples)
    assert set(predicted) == set(task.targets), f"predicted {set(predicted)}, the task asks for {set(task.targets)}"
    for name in task.targets:
        expected = _expected_shape(task, samples[name].shape, task.spec(name).time)
        assert predicted[name].shape == expected, (
            f"{name}: predicted shape {predicted[name].shape}, expected {expected}"
        )
        assert np.isfinite(predicted[name]).all(), f"{name}: the prediction is not finite"
    single = samples.select(slice(0, 1))
    _same(surrogate.predict(single), {k: v[:1] for k, v in predicted.items()}, "alone and in a batch")
    many = samples.select(np.arange(33) % n)
    _same(surrogate.predict(many), {k: v[np.arange(33) % n] for k, v in predicted.items()}, "in a batch of 33")
    call = eqx.filter_jit(lambda surrogate, fields, at=None: surrogate(fields, at))
    _same(call(surrogate, one), {k: v[0] for k, v in predicted.items()}, "called directly and by predict")
    _same(surrogate.predict(samples), predicted, "predicting twice", exact=True)

    inputs = [k for k in task.inputs + task.parameters if k in one]
    if can.needs_input:
        pairs = zip(_leaves(call(surrogate, one)), _leaves(call(surrogate, other)), strict=True)
        assert any(not np.allclose(a, b) for a, b in pairs), (
            "needs_input: two different samples give the same prediction"
        )
    elif inputs:
        changed = {k: v + 1 if k in inputs else v for k, v in one.items()}
        _same(call(surrogate, one), call(surrogate, changed), "needs_input is False but the input matters")
    if can.differentiable:
        for name in inputs:
            _check_gradient(surrogate, one, name)
    if can.resolution_free:
        _check_resolution(surrogate, one, other, call)
    if can.any_points:
        _check_points(surrogate, one, call)
    if can.autoregressive:
        _check_rollout(surrogate, samples, batch, predicted)
    if can.has_std:
        _check_std(surrogate, samples, predicted)
    if can.has_samples:
        _check_samples(surrogate, samples, predicted)
    if can.savable:
        _check_saved(surrogate, samples, predicted)
    if isinstance(surrogate, AbstractTrainable):
        _check_all_parts_are_used(surrogate, batch)


def _expected_shape(task, shape: tuple[int, ...], timed: bool) -> tuple[int, ...]:
    """Shape of the prediction of a target whose array in the dataset has the given `shape`."""
    if not timed:
        return shape
    n, _, *rest = shape
    return (n, *rest) if task.mode.single else (n, task.mode.ahead, *rest)


def _check_gradient(surrogate, one, name):
    """Compare the derivative along a direction in which every part of the gradient shows with finite differences."""
    masked = _mask_of(surrogate.task, name, one)

    def energy(x):
        return sum(jnp.sum(v.astype(jnp.float32) ** 2) for v in _leaves(surrogate({**one, name: x})))

    x = jnp.where(masked > 0, one[name].astype(jnp.float32), 0)
    run = jax.jit(energy)
    gradient = jax.jit(jax.grad(energy))(x)
    assert np.isfinite(gradient).all(), f"the gradient with respect to {name} is not finite"
    gradient = gradient * masked
    # The direction combines the gradient and the field: a missing part of the gradient shows along the field only.
    scale = float(jnp.linalg.norm(x)) or 1.0
    along = float(jnp.linalg.norm(gradient))
    field = x / scale * jnp.where(jnp.vdot(gradient, x) < 0, -1, 1)
    direction = gradient / (along or 1.0) + field
    direction /= jnp.linalg.norm(direction)
    slope = float(jnp.vdot(gradient, direction))
    estimates = [float(run(x + h * scale * direction) - run(x - h * scale * direction)) / (2 * h * scale)
                 for h in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)]  # fmt: skip
    # The best step size in float32 is not known in advance, so the closest of several estimates decides. Slopes below the
    # rounding of the energy cannot be measured.
    noise = 1e-5 * float(run(x)) / (1e-1 * scale)
    error = min(abs(e - slope) for e in estimates)
    assert error < 0.05 * abs(slope) + noise, (
        f"the gradient with respect to {name} is {slope:.4g}, finite differences say {estimates}"
    )


def _mask_of(task, name, one) -> np.ndarray | float:
    """1 at the real points of a field and 0 at padded ones, in the shape of its values."""
    spec = task.spec(name)
    if spec.role != "field":
        return 1.0
    mask = dict(task.domains)[spec.domain].sites(one).mask
    if mask is None or dict(task.domains)[spec.domain].fixed:
        return 1.0
    mask = np.asarray(mask, np.float32)
    return np.broadcast_to(mask[(..., *(None,) * len(spec.components))], one[name].shape)


def _check_resolution(surrogate, one, other, call):
    task = surrogate.task
    grid = task.domain.as_grid("resolution_free")
    shape = tuple(2 * n - 1 if layout == "nodes" else 2 * n for n, layout in zip(grid.shape, grid.layouts, strict=True))
    finer, first = grid.at_shape(shape), 0 if task.mode.single else 1
    matrices = interpolation(grid, finer)
    fine, coarse, others = call(surrogate, one, finer), call(surrogate, one), call(surrogate, other)
    for name, value in fine.items():
        space = value.shape[first : first + grid.ndim]
        assert space == shape, f"resolution_free: {name} at {finer} has shape {value.shape}"
        assert np.isfinite(value).all(), f"resolution_free: {name} at {finer} is not finite"
        expected, another = (
            np.asarray(apply_along_axes(jnp.asarray(v[name]), matrices, first)) for v in (coarse, others)
        )
        axes = tuple(range(first, first + grid.ndim))
        wrong = {"its mean": np.broadcast_to(expected.mean(axes, keepdims=True), expected.shape)}
        if grid.ndim > 1 and shape[0] == shape[1]:
            wrong["its transpose"] = np.swapaxes(expected, first, first + 1)
        if surrogate.capabilities.needs_input:
            wrong["the prediction of another sample"] = another
        distance = np.linalg.norm(np.asarray(value) - expected)
        for what, field in wrong.items():
            apart = np.linalg.norm(field - expected)
            if apart > 1e-3 * np.linalg.norm(expected):  # else the two are the same, as for a constant prediction
                assert distance < max(np.linalg.norm(np.asarray(value) - field), 0.1 * apart), (
                    f"resolution_free: {name} at {finer} is nearer to {what} than to the prediction at {grid}"
                )


def _check_points(surrogate, one, call):
    """Check that the prediction at some of the task's own points agrees with the prediction at all of them."""
    task, first = surrogate.task, 0 if surrogate.task.mode.single else 1
    sites = task.domain_of(one).sites(one)
    points = np.asarray(sites.points).reshape(-1, task.domain.ndim)
    chosen = np.arange(0, len(points), 3)
    chosen = chosen if sites.mask is None else chosen[np.asarray(sites.mask)[chosen]]
    at = PointCloud(np.asarray(points[chosen], np.float32))
    everywhere = call(surrogate, one)
    for name, value in call(surrogate, one, at).items():
        components = task.spec(name).components
        lead = everywhere[name].shape[:first]
        expected = np.asarray(everywhere[name]).reshape(*lead, len(points), *components)[
            (slice(None),) * first + (chosen,)
        ]
        assert value.shape == expected.shape, f"any_points: {name} at {len(chosen)} points has shape {value.shape}"
        _same({name: value}, {name: expected}, "any_points: at single points and at all of them")


def _check_rollout(surrogate, samples, batch, predicted):
    task, mode = surrogate.task, surrogate.task.mode
    steps = min(samples.instants - mode.history, 2 * mode.ahead)
    frames = surrogate.rollout(samples, steps)
    for name in task.targets:
        assert frames[name].shape[1] == steps, f"rollout: {frames[name].shape[1]} frames of {name}, asked for {steps}"
    first = {k: frames[k][:, 0] if mode.single else frames[k][:, : mode.ahead] for k in task.targets}
    cut = {k: v if mode.single else v[:, :steps] for k, v in predicted.items()}
    _same(first, cut, "the first rollout frames and the prediction")
    again = forecast(surrogate, Batch(batch.fields, batch.numbers), min(steps, mode.ahead))
    assert np.isfinite(again).all(), "rollout: a frame is not finite"


def _check_samples(surrogate, samples, predicted):
    key = jax.random.key(0)
    drawn = surrogate.predict_samples(samples, 3, key=key)
    for name, value in predicted.items():
        expected = (value.shape[0], 3, *value.shape[1:])
        assert drawn[name].shape == expected, f"has_samples: draws of {name} have shape {drawn[name].shape}"
        assert np.isfinite(drawn[name]).all(), f"has_samples: a draw of {name} is not finite"
        assert (drawn[name][:, 0] != drawn[name][:, 1]).any(), f"has_samples: all draws of {name} are the same"
    alone = surrogate.predict_samples(samples.select(slice(0, 1)), 3, key=key)
    _same(alone, {k: v[:1] for k, v in drawn.items()}, "has_samples: alone and in a batch")


def _check_std(surrogate, samples, predicted):
    std = surrogate.predict_std(samples)
    for name, value in predicted.items():
        assert std[name].shape == value.shape, f"has_std: std of {name} has shape {std[name].shape}"
        # A standard deviation of zero is right where the value is known, for example on a Dirichlet side.
        positive = np.isfinite(std[name]).all() and (std[name] >= 0).all() and std[name].any()
        assert positive, f"has_std: std of {name} is not positive"
    # One that is below the rounding of float32 is the same everywhere.
    told = any(v.max() > 1e-5 * np.abs(predicted[name]).max() for name, v in std.items())
    if surrogate.capabilities.needs_input and told:
        assert any((v != v[:1]).any() for v in std.values()), "has_std: two different samples give the same std"


def _check_saved(surrogate, samples, predicted):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surrogate"
        surrogate.save(path)
        # `like` has zeros in every array: an array that the file lacks then changes the prediction.
        like = jax.tree.map(_emptied, surrogate)
        again = load(path, like=None if surrogate.capabilities.self_contained else like)
    _same(again.predict(samples), predicted, "before and after saving", exact=True)


def _check_all_parts_are_used(surrogate, batch):
    """Every trained array changes the prediction; an array of zeros may hide another one, so the arrays are moved off zero."""
    trained, rest = eqx.partition(surrogate, trainable(surrogate))
    trained = jax.tree.map(jnp.asarray, trained)  # float64 parameters are rounded while x64 is off
    moved = jax.tree.map(
        lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape).astype(x.dtype), trained
    )

    @jax.jit
    def gradient(params):
        def energy(params):
            return sum(jnp.sum(v.astype(jnp.float32) ** 2) for v in _leaves(eqx.combine(params, rest).on_batch(batch)))

        return jax.grad(energy)(params)

    for path, value in jax.tree_util.tree_leaves_with_path(gradient(moved)):
        assert np.any(np.asarray(value) != 0), f"the prediction does not depend on {jax.tree_util.keystr(path)}"


def _emptied(leaf):
    if isinstance(leaf, np.ndarray | np.generic):
        return np.zeros_like(leaf) if leaf.dtype.kind == "f" else leaf
    return jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf


def _leaves(tree):
    return [v for _, v in sorted(tree.items())]


def _same(a, b, what: str, exact: bool = False):
    for name in a:
        x, y = np.asarray(a[name]), np.asarray(b[name])
        scale = np.abs(y).max() or 1.0
        difference = np.abs(x - y).max() / scale
        limit = 0 if exact else 1e-4
        assert difference <= limit, f"{what}: {name} differs by {difference:.2g} of its largest value"
