"""Batches that a solver makes inside the training loop: which samples they hold, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx

KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def poisson():
    return sx.problem("poisson", f=sx.random.GaussianField(alpha=3.0), box=sx.Box.unit(1))


@pytest.fixture(scope="module")
def heat():
    box = sx.Box(x=(0, 1, "periodic"))
    return sx.problem("heat", u0=sx.random.GaussianField(alpha=3.0, boundary="periodic"), box=box)


def numbers_of(chunk, done, count):
    return np.asarray(chunk.rows(jax.random.key(9), jnp.asarray(done), count)).ravel()


@pytest.mark.nightly
def test_a_sample_depends_on_its_number_alone_not_on_the_batch(poisson):
    source = sx.SolverSource(poisson, 17, KEY)
    task = sx.Task.of(poisson, 17)
    chunks = {size: next(source.batches(task, size, 1).chunks(0, 6))[1] for size in (2, 3)}
    for chunk in chunks.values():
        np.testing.assert_array_equal(numbers_of(chunk, 0, 4), np.arange(4 * chunk.batch_size))
        np.testing.assert_array_equal(numbers_of(chunk, 5, 2), 5 * chunk.batch_size + np.arange(2 * chunk.batch_size))
    made = {size: eqx.filter_jit(chunk.batch) for size, chunk in chunks.items()}
    twos = [made[2](row) for row in np.arange(6).reshape(3, 2)]
    threes = [made[3](row) for row in np.arange(6).reshape(2, 3)]
    for name in ("f", "u"):
        first, second = (np.concatenate([batch[name] for batch in batches]) for batches in (twos, threes))
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6 * abs(second).max())
        assert len(np.unique(first.round(5), axis=0)) == 6, "all samples differ"


@pytest.mark.nightly
def test_samples_are_those_of_generate_with_the_same_key(poisson):
    """Drawn from the same laws by the same numbers, and solved."""
    data = sx.generate(poisson, 3, 17, KEY, cache=False, progress=False)
    made = jax.jit(sx.SolverSource(poisson, 17, KEY).samples)(jnp.arange(3))
    for name in ("f", "u"):
        scale = abs(data[name]).max()
        np.testing.assert_allclose(made[name], data[name], atol=2e-5 * scale)


@pytest.mark.nightly
def test_training_meets_new_samples_in_every_step_and_goes_on_with_the_next_ones(poisson, tmp_path):
    """A run of 6 steps is one of 4 that is taken up again."""
    task = sx.Task.of(poisson, 17)
    model = sx.FNO(task, width=4, modes=3, depth=1, key=KEY)
    options = {"optimizer": optax.adam(1e-3), "batch_size": 3, "progress": False}
    source = sx.SolverSource(poisson, 17, KEY, round=2)
    whole = sx.fit(model, source, steps=6, **options)
    assert len(whole.history.loss) == 3
    sx.fit(model, source, steps=4, run=tmp_path / "run", **options)
    resumed = sx.fit(model, source, steps=6, run=tmp_path / "run", **options)
    assert resumed.history.loss == whole.history.loss
    with pytest.raises(ValueError, match="belongs to another configuration: train"):
        other = sx.SolverSource(poisson, 17, jax.random.key(5), round=2)
        sx.fit(model, other, steps=6, run=tmp_path / "run", **options)


def test_trajectories_have_the_instants_of_one_training_sample(heat):
    times = np.linspace(0, 1, 3)
    task = sx.Task.of(heat, 16, mode=sx.SpaceTime(3))
    batches = sx.SolverSource(heat, 16, KEY, times=times).batches(task, 2, 1)
    batch = eqx.filter_jit(batches.chunk.batch)(jnp.arange(2))
    assert batch["u"].shape == (2, 3, 16)
    np.testing.assert_allclose(batch["u"][:, 0], batch["u0"], atol=1e-5)
    with pytest.raises(
        ValueError, match=r"the task has instants 0\.5 apart, those of the SolverSource are 0\.01 apart"
    ):
        sx.SolverSource(heat, 16, KEY, times=np.linspace(0, 0.02, 3)).batches(task, 2, 1)
    with pytest.raises(ValueError, match=r"SolverSource has 4 instants; one training sample of Task.* has 3"):
        sx.SolverSource(heat, 16, KEY, times=np.linspace(0, 1, 4)).batches(task, 2, 1)
    with pytest.raises(ValueError, match="SolverSource has 0 instants"):
        sx.SolverSource(heat, 16, KEY).batches(task, 2, 1)


def test_what_does_not_suit_the_task_is_named(poisson):
    task = sx.Task.of(poisson, 17)
    with pytest.raises(ValueError, match=r"SolverSource has 3 instants; one training sample of Task.* has 0"):
        sx.SolverSource(poisson, 17, KEY, times=np.arange(3)).batches(task, 2, 1)
    wide = sx.problem("poisson", f=sx.random.GaussianField(), box=sx.Box(x=(0, 2)))
    with pytest.raises(ValueError, match=r"the task lives on Grid\(x∈\[0, 1\].*the SolverSource on Grid\(x∈\[0, 2\]"):
        sx.SolverSource(wide, 17, KEY).batches(task, 2, 1)
    with pytest.raises(ValueError, match="SolverSource needs a problem that declares `solve`"):
        sx.SolverSource(sx.Problem("u", sx.Box.unit(1), residual=lambda u, p: u.xx), 17, KEY)


@pytest.mark.nightly
def test_training_ends_at_a_sample_that_the_solver_cannot_solve():
    darcy = sx.problem("darcy", a=sx.random.Threshold(1.0, -5.0), faces="arithmetic", preconditioner="plain")
    source = sx.SolverSource(darcy, 9, KEY)
    model = sx.FNO(sx.Task.of(darcy, 9), width=4, modes=2, depth=1, key=KEY)
    with pytest.raises(Exception, match=r"SolverSource of .*the solver did not converge for .*breakdown"):
        sx.fit(model, source, optimizer=optax.adam(1e-3), steps=2, batch_size=2, progress=False)
