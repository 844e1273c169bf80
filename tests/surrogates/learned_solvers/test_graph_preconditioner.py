"""Learned preconditioners: equivariances, exact zeros and gradients of the losses, and a training that lowers iterations."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse as sp

import surrogax as sx
from surrogax.core import storage
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, Diffusion, Sparse, Status, solve
from surrogax.solvers.linear.operators.sparsity_pattern import SymmetricEntries, SymmetricPattern, symmetric_entries
from surrogax.surrogates.learned_solvers.graph_network import GraphNetwork
from surrogax.surrogates.learned_solvers.graph_preconditioner import GraphPreconditioner
from surrogax.surrogates.learned_solvers.preconditioner_objective import (
    frobenius_loss,
    inverse_loss,
    solution_loss,
    stacked_entries,
)

SHAPE, SIDES = (9, 8), ("dirichlet", "neumann")
RNG = np.random.default_rng(0)
A = np.exp(RNG.normal(size=(4, 11, 8)))
B = RNG.normal(size=SHAPE)


@jax.jit
def diffusion(a) -> Diffusion:
    return Diffusion(stencil.face_means(a, SIDES, "harmonic"), SHAPE, (0.1, 0.125), SIDES)


def random_weights(model, size: float = 0.1):
    """The network starts as the classical method; move it away from there."""
    leaves, tree = jax.tree.flatten(eqx.filter(model, eqx.is_array))
    moved = [x + size * RNG.normal(size=x.shape) for x in leaves]
    return eqx.combine(jax.tree.unflatten(tree, [jnp.asarray(x, jnp.float32) for x in moved]), model)


def make(form, **options) -> GraphPreconditioner:
    return GraphPreconditioner(form, width=6, depth=2, key=jax.random.key(0), **options)


FORMS = {"factor": {"form": "factor"}, "inverse": {"form": "inverse", "factors": 2}}


# The network ----------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_numbering_of_the_unknowns_does_not_matter():
    n = 12
    a = sp.random(n, n, 0.2, rng=np.random.default_rng(1)).toarray()
    a = a + a.T
    permutation = RNG.permutation(n)
    network = random_weights(GraphNetwork(1, 1, outputs=2, width=5, depth=2, key=jax.random.key(0)))

    def run(matrix, nodes):
        pattern = SymmetricPattern(*np.nonzero(np.tril(matrix, -1)), n)
        lower = jnp.asarray(matrix[pattern.rows, pattern.columns], jnp.float32)
        edges = pattern.by_rows(lower, lower)[..., None]
        of_nodes, of_edges = jax.jit(lambda x, e: network(pattern, x, e))(nodes, edges)
        dense = np.zeros((n, n, 2))
        rows = np.concatenate([pattern.rows, pattern.columns])
        columns = np.concatenate([pattern.columns, pattern.rows])
        dense[rows, columns] = of_edges.reshape(-1, 2)[pattern.slots]
        return of_nodes, dense

    nodes = jnp.asarray(RNG.normal(size=(n, 1)), jnp.float32)
    first, second = run(a, nodes)
    moved, moved_edges = run(a[np.ix_(permutation, permutation)], nodes[permutation])
    assert np.ptp(first) > 0.01 and np.ptp(second) > 0.01
    np.testing.assert_allclose(moved, first[permutation], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved_edges, second[np.ix_(permutation, permutation)], rtol=1e-4, atol=1e-5)


# The preconditioner ---------------------------------------------------------------------------------------------------


@pytest.mark.nightly
@pytest.mark.parametrize("form", FORMS)
def test_definite_and_equivariant_under_scaling(form):
    model = random_weights(make(**FORMS[form]))

    @jax.jit
    def matrices(a):
        def inverse(a):
            apply = model.bind(diffusion(a))
            return jax.vmap(lambda e: apply(e.reshape(SHAPE)).ravel())(jnp.eye(B.size))

        return jax.vmap(inverse)(jnp.stack([a, 100 * a]))

    one, hundred = np.asarray(matrices(jnp.asarray(A[0], jnp.float32)), np.float64)
    size = abs(one).max()
    np.testing.assert_allclose(one, one.T, atol=1e-5 * size)
    assert np.linalg.eigvalsh((one + one.T) / 2).min() > 0
    np.testing.assert_allclose(100 * hundred, one, rtol=1e-3, atol=1e-4 * size)


@pytest.mark.nightly
def test_sparse_and_diffusion_give_the_same_preconditioner_and_a_saved_one_is_the_same(tmp_path):
    model = random_weights(make("inverse", factors=2))
    storage.save(tmp_path / "model", model)
    loaded = storage.load(tmp_path / "model")
    operator = diffusion(jnp.asarray(A[0], jnp.float32))
    sparse = Sparse.from_scipy(sp.csr_array(np.asarray(jax.jit(lambda o: o.as_matrix())(operator))), SHAPE)
    b = jnp.asarray(B, jnp.float32)
    expected = jax.jit(lambda o: model.bind(o)(b))(operator)
    found = jax.jit(lambda values: loaded.bind(sparse.with_values(values))(b))(sparse.values)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match="shift > 0"):
        make("inverse", shift=0.0)
    operators = [diffusion(jnp.asarray(A[0], jnp.float32))]
    with pytest.raises(ValueError, match="not for the form"):
        sx.fit(
            make("factor"),
            operators=operators,
            vectors=jnp.ones((1, 1, *SHAPE)),
            loss="inverse",
            optimizer=optax.sgd(1.0),
            steps=1,
        )
    with pytest.raises(ValueError, match="different patterns"):
        stacked_entries([operators[0], Sparse.from_scipy(sp.csr_array(np.eye(72, dtype=np.float32)))])


# Losses and training --------------------------------------------------------------------------------------------------


def test_losses_vanish_at_exact_factors_and_their_gradients_are_those_of_differences():
    n = 5
    with jax.enable_x64(True):
        pattern = SymmetricPattern(*np.nonzero(np.tril(np.ones((n, n)), -1)), n)
        matrix = np.eye(n) + 0.1 * np.ones((n, n)) - 0.1 * np.eye(n)
        lower = jnp.asarray(matrix[pattern.rows, pattern.columns])
        factor = np.linalg.cholesky(matrix)
        values = jnp.concatenate([jnp.asarray(np.diag(factor)), jnp.asarray(factor[pattern.rows, pattern.columns])])
        g = np.linalg.cholesky(np.linalg.inv(matrix) - 0.2 * np.eye(n))
        first = np.concatenate([np.diag(g), g[pattern.rows, pattern.columns], g[pattern.columns, pattern.rows]])
        second = np.concatenate([np.ones(n), np.zeros(2 * pattern.places)])
        z = jnp.asarray(RNG.normal(size=n))
        losses = {
            "solution": (functools.partial(solution_loss, pattern, lower, x=z), values),
            "frobenius": (functools.partial(frobenius_loss, pattern, lower, z=z), values),
            "inverse": (
                functools.partial(inverse_loss, pattern, lower, z=z, shift=0.2),
                jnp.asarray(np.stack([first, second])),
            ),
        }
        for loss, exact in losses.values():
            value_and_grad = jax.jit(jax.value_and_grad(loss))
            assert value_and_grad(exact)[0] < 1e-28
            point, direction = (jnp.asarray(RNG.normal(size=exact.shape)) for _ in range(2))
            ahead, behind = (value_and_grad(point + s * direction)[0] for s in (1e-6, -1e-6))
            _, gradient = value_and_grad(point)
            np.testing.assert_allclose(jnp.vdot(gradient, direction), (ahead - behind) / 2e-6, rtol=1e-6)


@eqx.filter_jit
def statistics(model, a):
    return solve(diffusion(a), jnp.asarray(B), CG(model, rtol=1e-8)).stats


def iterations(model, a) -> int:
    with jax.enable_x64(True):
        stats = statistics(model, jnp.asarray(np.asarray(a), jnp.float64))
        assert stats.status == Status.converged
        return int(stats.iterations)


@pytest.mark.nightly
def test_training_lowers_the_loss_and_the_iterations_on_unseen_systems():
    model, steps = make("factor", classical=False), 40
    operators = [diffusion(a) for a in jnp.asarray(A[:3], jnp.float32)]
    entries = stacked_entries(operators)
    assert isinstance(entries, SymmetricEntries) and entries.diagonal.shape == (3, B.size)
    np.testing.assert_array_equal(entries.lower[1], symmetric_entries(operators[1]).lower)
    matrix = jax.jit(lambda o: o.as_matrix())
    exact = [np.linalg.solve(matrix(o), RNG.normal(size=(B.size, 2))).T for o in operators]
    vectors = jnp.asarray(np.stack(exact), jnp.float32).reshape(3, 2, *SHAPE)
    options = {"optimizer": optax.adam(1e-2), "steps": steps, "check_every": 1, "progress": False}
    result = sx.fit(model, operators=operators, vectors=vectors, **options)
    losses = [loss for (loss,) in result.history.loss]
    assert len(losses) == steps and losses[-1] < 0.3 * losses[0]
    assert iterations(result.best, A[3]) < 0.8 * iterations(model, A[3])
