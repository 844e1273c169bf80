"""The contract that every surrogate keeps, checked: ours in our tests, yours in yours."""

import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..datasets.dataset import Dataset
from .surrogate import load, window
from .synthetic_data import example_dataset


def check_surrogate(surrogate, data: Dataset | None = None) -> None:
    """Raise `AssertionError` naming the first part of the contract that `surrogate` breaks on samples of `data`, or on
    made-up ones (`example_dataset`) without it.

    - every target is predicted, in its shape, finite, also for one sample, under jit, vmap and for a batch of one;
    - the same sample gives the same prediction alone and in a batch, and twice the same;
    - `needs_input`: another input gives another prediction; without it, the same;
    - gradients with respect to input fields are finite, and agree with finite differences (`differentiable`);
    - `resolution_free`: predicts on another grid; `autoregressive`: rolls out, its first frame being the prediction;
    - `has_variance`: the standard deviation has the prediction's shapes, is positive, finite and depends on the input;
    - saved and loaded it predicts the same numbers, bit for bit.

    A part is skipped only where `surrogate.capabilities` says so.
    """
    surrogate = getattr(surrogate, "best", surrogate)
    task, can = surrogate.task, surrogate.capabilities
    data = example_dataset(task) if data is None else data
    n = min(4, len(data))
    assert n >= 2, "check_surrogate needs at least two samples"
    samples = data.select(slice(0, n))
    batch = jax.tree.map(jnp.asarray, window(task, samples.read(_inputs(task))))
    batch = batch or {"": jnp.zeros(n)}
    one = jax.tree.map(lambda x: x[0], batch)

    predicted = surrogate.predict(samples)
    assert set(predicted) == set(task.targets), f"predicted {set(predicted)}, the task asks for {set(task.targets)}"
    for name in task.targets:
        truth = samples[name]
        expected = (n, *truth.shape[2:]) if task.history else truth.shape
        assert predicted[name].shape == expected, (
            f"{name}: predicted shape {predicted[name].shape}, expected {expected}"
        )
        assert np.isfinite(predicted[name]).all(), f"{name}: the prediction is not finite"
    single = samples.select(slice(0, 1))
    _same(surrogate.predict(single), {k: v[:1] for k, v in predicted.items()}, "alone and in a batch")
    call = eqx.filter_jit(lambda surrogate, fields, at=None: surrogate(fields, at))
    _same(call(surrogate, one), {k: v[0] for k, v in predicted.items()}, "called directly and by predict")
    _same(surrogate.predict(samples), predicted, "predicting twice", exact=True)

    inputs = [k for k in task.inputs if k in one]
    if can.needs_input:
        other = jax.tree.map(lambda x: x[1], batch)
        pairs = zip(_leaves(call(surrogate, one)), _leaves(call(surrogate, other)), strict=True)
        assert any(not np.allclose(a, b) for a, b in pairs), (
            "needs_input: two different samples give the same prediction"
        )
    elif inputs:
        changed = {k: v + 1 if k in inputs else v for k, v in one.items()}
        _same(call(surrogate, one), call(surrogate, changed), "needs_input is False but the input matters")
    if can.differentiable and inputs:
        _check_gradient(surrogate, one, inputs[0])
    if can.resolution_free:
        _check_resolution(surrogate, one, call)
    if can.autoregressive:
        steps = data.instants - task.history
        frames = surrogate.rollout(samples, min(steps, 2))
        _same({k: frames[k][:, 0] for k in task.targets}, predicted, "the first rollout frame and the prediction")
    if can.has_variance:
        _check_std(surrogate, samples, predicted)
    if can.savable:
        _check_saved(surrogate, samples, predicted)


def _check_gradient(surrogate, one, name):
    def energy(x):
        return sum(jnp.sum(v.astype(jnp.float32) ** 2) for v in _leaves(surrogate({**one, name: x})))

    x = one[name].astype(jnp.float32)
    run = jax.jit(energy)
    gradient = jax.jit(jax.grad(energy))(x)
    assert np.isfinite(gradient).all(), f"the gradient with respect to {name} is not finite"
    # Along the gradient and the field itself: a part of the gradient that is missing shows along the field.
    scale = float(jnp.linalg.norm(x)) or 1.0
    along = float(jnp.linalg.norm(gradient))
    field = x / scale * jnp.where(jnp.vdot(gradient, x) < 0, -1, 1)
    direction = gradient / (along or 1.0) + field
    direction /= jnp.linalg.norm(direction)
    slope = float(jnp.vdot(gradient, direction))
    unit = abs(slope) or float(run(x)) / scale or 1.0
    estimates = [float(run(x + h * scale * direction) - run(x - h * scale * direction)) / (2 * h * scale)
                 for h in (1e-1, 3e-2, 1e-2, 3e-3, 1e-3)]  # fmt: skip
    # In float32 the best step is unknown beforehand: the closest of several decides.
    error = min(abs(e - slope) for e in estimates) / unit
    assert error < 0.05, f"the gradient with respect to {name} is {slope:.4g}, finite differences say {estimates}"


def _check_resolution(surrogate, one, call):
    task = surrogate.task
    shape = tuple(
        2 * n - 1 if layout == "nodes" else 2 * n for n, layout in zip(task.grid.shape, task.grid.layouts, strict=True)
    )
    finer = type(task.grid)(task.grid.box, shape, task.grid.layouts)
    for name, value in call(surrogate, one, finer).items():
        space = value.shape[: task.grid.ndim]
        assert space == shape, f"resolution_free: {name} at {finer} has shape {value.shape}"
        assert np.isfinite(value).all(), f"resolution_free: {name} at {finer} is not finite"


def _check_std(surrogate, samples, predicted):
    std = surrogate.predict_std(samples)
    for name, value in predicted.items():
        assert std[name].shape == value.shape, f"has_variance: std of {name} has shape {std[name].shape}"
        # Zero is right where the value is known, as on a Dirichlet side.
        positive = np.isfinite(std[name]).all() and (std[name] >= 0).all() and std[name].any()
        assert positive, f"has_variance: std of {name} is not positive"
    if surrogate.capabilities.needs_input:
        assert any((v != v[:1]).any() for v in std.values()), "has_variance: two different samples give the same std"


def _check_saved(surrogate, samples, predicted):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "surrogate"
        surrogate.save(path)
        foreign = getattr(getattr(surrogate, "network", None), "foreign", False)
        # Zeros in every array: what the file does not hold is then missing.
        like = jax.tree.map(lambda x: jnp.zeros_like(x) if eqx.is_inexact_array(x) else x, surrogate)
        again = load(path, like=like if foreign else None)
    _same(again.predict(samples), predicted, "before and after saving", exact=True)


def _inputs(task):
    return [n for n in task.names() if n not in task.targets or n in task.inputs]


def _leaves(tree):
    return [v for _, v in sorted(tree.items())]


def _same(a, b, what: str, exact: bool = False):
    for name in a:
        x, y = np.asarray(a[name]), np.asarray(b[name])
        scale = np.abs(y).max() or 1.0
        difference = np.abs(x - y).max() / scale
        limit = 0 if exact else 1e-4
        assert difference <= limit, f"{what}: {name} differs by {difference:.2g} of its largest value"
