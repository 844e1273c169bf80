"""SPRING, sketched steps and SOAP: against their formulas in NumPy, and what they reach."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.surrogates.training.sketched import Subspace, sketched_rows

_spec = importlib.util.spec_from_file_location("second_order", Path(__file__).with_name("test_second_order.py"))
second_order = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(second_order)
fit = second_order.fit


@pytest.mark.parametrize("n, d", [(7, 3), (3, 6)])
def test_spring_follows_its_recursion(n, d):
    rng = np.random.default_rng(0)
    a, b = (np.float32(x).astype(float) for x in (rng.normal(size=(n, d)), rng.normal(size=n)))
    step = sx.SPRING(damping=0.2, momentum=0.7, hold=9)
    found = fit(lambda x: a @ x - b, np.zeros(d, np.float32), step, 3)
    x, phi = np.zeros(d), np.zeros(d)
    gram = a.T @ a if n >= d else a @ a.T
    shift = 0.2 * gram.diagonal().max() * np.eye(n)
    losses = lambda x: 0.5 * np.sum((a @ x - b) ** 2)  # noqa: E731
    for _ in range(3):
        phi = 0.7 * phi + a.T @ np.linalg.solve(a @ a.T + shift, a @ x - b - 0.7 * a @ phi)
        x = min((x - phi / 2**k for k in range(6)), key=losses)
    np.testing.assert_allclose(found.last.x, x, rtol=1e-11)


@pytest.mark.nightly
def test_a_subspace_is_orthonormal_and_sums_keep_lengths_on_average(x64):
    space = Subspace.draw(jax.random.key(0), 12, 5, jnp.float64)
    basis = jax.vmap(space.lift)(jnp.eye(5))
    np.testing.assert_allclose(basis @ basis.T, np.eye(5), atol=1e-12)
    a = np.random.default_rng(1).normal(size=(4, 12))
    np.testing.assert_allclose(space.project(jnp.asarray(a)), a @ basis.T, atol=1e-12)
    keys = jax.random.split(jax.random.key(1), 4000)
    lengths = jax.vmap(lambda k: jnp.sum(sketched_rows(k, jnp.asarray(a), 3) ** 2))(keys)
    spread = float(lengths.std()) / np.sqrt(4000)
    assert abs(float(lengths.mean()) - np.sum(a**2)) < 5 * spread


@pytest.mark.nightly
@pytest.mark.parametrize(
    "step, steps", [(sx.SPRING(), 40), (sx.SketchedLevenbergMarquardt(2), 60)], ids=["SPRING", "sketched"]
)
def test_the_valley_of_rosenbrock(step, steps):
    found = fit(second_order.rosenbrock, [-1.2, 1.0], step, steps)
    np.testing.assert_allclose(found.last.x, 1, atol=1e-6)


def test_a_sketch_of_full_size_solves_linear_equations_and_too_large_ones_are_refused():
    rng = np.random.default_rng(2)
    a = np.float32(rng.normal(size=(30, 6))).astype(float)
    b = a @ np.arange(6.0)
    found = fit(lambda x: a @ x - b, np.zeros(6, np.float32), sx.SketchedLevenbergMarquardt(6), 12)
    np.testing.assert_allclose(found.last.x, np.arange(6), atol=1e-6)
    with pytest.raises(ValueError, match=r"size=7\): the model has 6 parameters"):
        fit(lambda x: a @ x - b, np.zeros(6, np.float32), sx.SketchedLevenbergMarquardt(7), 1)


def soap_in_numpy(gradients, lr, b1, b2, eps, frequency):
    """The moves of SOAP for a sequence of gradients of one matrix."""
    m, n = gradients[0].shape
    left, right, mean, square = np.zeros((m, m)), np.zeros((n, n)), np.zeros((m, n)), np.zeros((m, n))
    bases, moves = [], []
    for t, g in enumerate(gradients):
        if t == 0:
            moves.append(np.zeros((m, n)))
        else:
            q, p = bases
            mean = b1 * mean + (1 - b1) * g
            square = b2 * square + (1 - b2) * (q.T @ g @ p) ** 2
            turned = (q.T @ mean @ p) / (1 - b1**t) / (np.sqrt(square / (1 - b2**t)) + eps)
            moves.append(-lr * q @ turned @ p.T)
        left, right = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g
        if t == 0:
            bases = [np.linalg.eigh(x)[1][:, ::-1] for x in (left, right)]
        elif t % frequency == 0:
            for axis, average in enumerate((left, right)):
                order = np.argsort(-np.diag(bases[axis].T @ average @ bases[axis]))
                square = np.take(square, order, axis)
                bases[axis] = np.linalg.qr(average @ bases[axis][:, order])[0]
    return moves


def test_soap_is_its_recursion_and_squares_advance_at_every_update(x64):
    rng = np.random.default_rng(3)
    gradients = [rng.normal(size=(3, 2)) @ np.diag([1.0, 0.2]) for _ in range(7)]
    optimizer = sx.soap(0.1, b2=0.95, frequency=3)
    state = optimizer.init(jnp.zeros((3, 2)))
    expected = soap_in_numpy(gradients, 0.1, 0.9, 0.95, 1e-8, 3)
    # Gradients of rank 2 leave the third basis vector of the first average undetermined, in which nothing moves.
    update = jax.jit(optimizer.update)
    for g, wanted in zip(gradients, expected, strict=True):
        move, state = update(jnp.asarray(g), state)
        np.testing.assert_allclose(move, wanted, rtol=1e-6, atol=1e-9)
    (own, _) = state
    assert int(own.count) == 7


def test_soap_takes_arrays_of_any_shape_and_limits_its_bases():
    params = {"a": jnp.ones(()), "b": jnp.ones(4), "c": jnp.ones((2, 3, 4)), "d": jnp.ones((9, 2))}
    optimizer = sx.soap(optax.constant_schedule(0.1), largest=8)

    @jax.jit
    def advance(params, state):
        gradients = jax.grad(lambda p: sum(jnp.sum((x - 0.5) ** 2) for x in jax.tree.leaves(p)))(params)
        moves, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, moves), state

    state = optimizer.init(params)
    for _ in range(40):
        params, state = advance(params, state)
    for x in jax.tree.leaves(params):
        np.testing.assert_allclose(x, 0.5, atol=0.2)
    with pytest.raises(ValueError, match="b1"):
        sx.soap(b1=1.0)
