"""Sequences of systems: assembled where they are used, one by one or all at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.datasets.systems import Systems
from surrogax.solvers import random

BOX = sx.Box(x=(0, 11), y=(0, 11))
LAPLACIAN = sx.problem("shifted_laplacian", c=random.Beta(2, 6, 0.6, -0.15), f=random.TruncatedNoise(), box=BOX)


@pytest.mark.nightly
def test_the_systems_of_learning_to_relax(key):
    """diag 4 + c, off-diagonal −1 on 10×10 points, right-hand sides of norm ≤ 10; as stacks and inside a scan."""
    with jax.enable_x64(True):
        systems = Systems.sample(LAPLACIAN, 4, 12, key)
        assert len(systems) == 4 and systems.context.shape == (4,) and systems.context.dtype == np.float64
        line = 2 * np.eye(10) - np.eye(10, k=1) - np.eye(10, k=-1)
        dense = np.kron(line, np.eye(10)) + np.kron(np.eye(10), line)
        operators, b = systems.assembled()
        assert [s.context for s in systems] == list(systems.context) and not any(s.is_sequence for s in systems)
        matrices = jax.vmap(lambda a: a.as_matrix())(operators)
        expected = dense + np.asarray(systems.context)[:, None, None] * np.eye(100)
        np.testing.assert_allclose(matrices, expected, atol=1e-12)
        assert b.shape == (4, 10, 10) and (np.linalg.norm(b.reshape(4, -1), axis=1) <= 10).all()
        assert (np.linalg.norm(b.reshape(4, -1), axis=1) > 8).all()

        def step(count, system):
            assert not system.is_sequence and system.operator.in_structure().shape == (10, 10)
            return count + 1, (system.operator.mv(system.b), system.context)

        _, (products, contexts) = jax.lax.scan(step, 0, systems)
        np.testing.assert_allclose(products[2].ravel(), expected[2] @ b[2].ravel(), rtol=1e-12)
        np.testing.assert_array_equal(contexts, systems.context)


@pytest.mark.nightly
def test_a_dataset_gives_the_systems_of_its_samples(key):
    """Inputs read back from a dataset, and in double precision where the caller has it."""
    drawn = Systems.sample(LAPLACIAN, 3, 12, key)
    values = {k: np.asarray(v) for k, v in drawn.fields.items()}
    data = sx.from_arrays({"f": values["f"]}, parameters={"c": values["c"]}, grid=BOX.grid(12))
    data = sx.Dataset.of(data.source, LAPLACIAN)
    systems = data.select([2, 0, 1]).systems()
    np.testing.assert_array_equal(systems.context, drawn.context[jnp.array([2, 0, 1])])
    np.testing.assert_array_equal(systems[1].b, drawn[0].b)
    assert systems[-1].b.shape == (10, 10) and systems[-1].context == drawn.context[1]
    np.testing.assert_array_equal(systems[1:].b, systems.b[1:])
    np.testing.assert_array_equal(systems[[2, 0]].context, systems.context[jnp.array([2, 0])])
    with jax.enable_x64(True):
        assert data.systems(context="c").b.dtype == np.float64


def test_contexts_can_be_chosen_and_misuse_is_named(key):
    def assemble(fields, grid):
        return fields["k"], fields["a"] * fields["b"]

    inputs = {"a": random.Uniform(), "b": random.Uniform(), "k": random.GaussianField()}
    problem = sx.Problem("u", sx.Box.unit(1), inputs=inputs, operator=assemble)
    grid = problem.box.grid(5)
    assert Systems.sample(problem, 3, grid, key).context.shape == (3, 2)
    assert Systems.sample(problem, 3, grid, key, context="b").context.shape == (3,)
    both = Systems.sample(problem, 3, grid, key, context=("b", "a"))
    np.testing.assert_array_equal(both[1].context, jnp.stack([both.fields["b"][1], both.fields["a"][1]]))
    assert Systems.sample(problem, 3, grid, key, context=()).context is None
    for wrong in ("k", "z"):
        with pytest.raises(ValueError, match=r"one number per sample, \['a', 'b'\]"):
            Systems.sample(problem, 3, grid, key, context=wrong)
    with pytest.raises(IndexError, match="system 3 of a sequence of 3"):
        both[3]
    for refused in (lambda: len(both[0]), lambda: both[0][0]):
        with pytest.raises(TypeError, match="one system"):
            refused()
    with pytest.raises(ValueError, match="no inputs"):
        Systems.sample(sx.problem("poisson"), 3, 5, key)
    with pytest.raises(ValueError, match="operator"):
        Systems.sample(sx.problem("burgers"), 3, 8, key)
