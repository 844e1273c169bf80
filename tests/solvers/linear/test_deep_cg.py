"""Deep conjugate directions with untrained ones: exact, identical to CG, adversarial, in lanes, under derivatives."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, AbstractPreconditioner, DeepCG, Diffusion, Laplacian, Status, solve

SHAPE, SPACING, BOUNDARIES = (7, 6), (1 / 8, 1 / 6), ("dirichlet", "neumann")
A = np.random.default_rng(0).uniform(0.5, 3.0, (9, 6))
B = np.random.default_rng(1).normal(size=SHAPE)


def diffusion(a):
    return Diffusion(stencil.face_means(a, BOUNDARIES, "harmonic"), SHAPE, SPACING, BOUNDARIES)


class Inverse(AbstractPreconditioner):
    """The exact direction, set up from the operator."""

    def bind(self, operator):
        return BoundInverse(jnp.linalg.inv(operator.as_matrix()).astype(jnp.float32))


class BoundInverse(eqx.Module):
    """The exact direction of one operator, in single precision."""

    matrix: jax.Array

    def __call__(self, r):
        return (self.matrix @ r.astype(jnp.float32).ravel()).reshape(r.shape)


class Adversary(eqx.Module):
    """What a direction should not be, one kind per `kind`."""

    kind: jax.Array

    def __call__(self, r):
        checkerboard = jnp.asarray(np.indices(r.shape).sum(0) % 2 * 2.0 - 1, r.dtype)
        kinds = [-r, 0 * r, jnp.nan * r, jnp.inf + r, checkerboard, 1e30 * checkerboard, jnp.sin(1e6 * r)]
        return jnp.stack(kinds)[self.kind]


def identity(r):
    return r


@functools.cache
def compiled(method):
    return jax.jit(lambda a, b: solve(diffusion(a), b, method))


@pytest.mark.nightly
def test_the_exact_inverse_converges_in_one_step_per_rounding_of_its_precision(x64):
    solution = compiled(DeepCG(Inverse(), rtol=1e-5))(jnp.asarray(A), jnp.asarray(B))
    assert (int(solution.iterations), int(solution.status)) == (1, Status.converged)
    solution = compiled(DeepCG(Inverse(), rtol=1e-12))(jnp.asarray(A), jnp.asarray(B))
    assert solution.value.dtype == jnp.float64
    assert 2 <= int(solution.iterations) <= 3
    reference = np.linalg.solve(np.asarray(diffusion(jnp.asarray(A)).as_matrix()), B.ravel())
    np.testing.assert_allclose(solution.value.ravel(), reference, rtol=1e-10)
    assert int(solution.stats.fallbacks) == 0 and solution.method == "DeepCG(Inverse)"


@pytest.mark.nightly
def test_the_residual_as_direction_is_conjugate_gradients(x64):
    """Two-term A-orthogonalisation of the residuals gives the iterates of CG."""
    deep = compiled(DeepCG(identity, rtol=1e-10, history=True))(jnp.asarray(A), jnp.asarray(B))
    plain = compiled(CG(rtol=1e-10, history=True))(jnp.asarray(A), jnp.asarray(B))
    assert abs(int(deep.iterations) - int(plain.iterations)) <= 1 and int(deep.stats.fallbacks) == 0
    np.testing.assert_allclose(deep.stats.history[:25], plain.stats.history[:25], rtol=1e-6)  # rounding grows later
    np.testing.assert_allclose(deep.value, plain.value, rtol=1e-8)


@pytest.mark.nightly
def test_bad_directions_fall_back_to_conjugate_gradients_lane_by_lane():
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)

    @jax.jit
    def run(kinds, b):
        return jax.vmap(lambda k, b: solve(diffusion(a), b, DeepCG(Adversary(k), rtol=1e-4)))(kinds, b)

    kinds = jnp.arange(7)
    solutions = run(kinds, jnp.stack([b] * 7))
    plain = solve(diffusion(a), b, CG(rtol=1e-4))
    np.testing.assert_array_equal(solutions.status, Status.converged)
    iterations, fallbacks = np.asarray(solutions.iterations), np.asarray(solutions.stats.fallbacks)
    # −r spans the same directions as r; zero, NaN and infinity are replaced in every step; the others in most.
    assert fallbacks[0] == 0 and (fallbacks[1:4] == iterations[1:4]).all() and (fallbacks[4:] > 0).all()
    assert (np.abs(iterations[:4] - int(plain.iterations)) <= 1).all()
    assert (iterations[4:] <= 3 * int(plain.iterations)).all()
    np.testing.assert_allclose(
        solutions.value, jnp.stack([plain.value] * 7), rtol=0, atol=2e-3 * jnp.abs(plain.value).max()
    )
    # One lane that cannot be solved leaves the others as they were.
    broken = run(kinds, jnp.stack([b, b, jnp.nan * b, b, b, b, 0 * b]))
    assert broken.status.tolist() == [0, 0, Status.non_finite, 0, 0, 0, 0]
    assert int(broken.iterations[6]) == 0 and not broken.value[6].any()
    np.testing.assert_array_equal(np.asarray(broken.value)[[0, 1, 3]], np.asarray(solutions.value)[[0, 1, 3]])


def test_the_energy_of_the_error_falls_in_every_step(x64):
    matrix = np.asarray(diffusion(jnp.asarray(A)).as_matrix())
    exact = np.linalg.solve(matrix, B.ravel())
    operator = diffusion(jnp.asarray(A))
    recurrence = DeepCG(Adversary(jnp.asarray(6))).recurrence(operator)
    state, _ = recurrence.start(jnp.zeros(SHAPE), jnp.asarray(B), None)
    step, energies = jax.jit(recurrence.step), []
    for _ in range(12):
        e = np.asarray(recurrence.solution(state)).ravel() - exact
        energies.append(e @ matrix @ e)
        state, _, _ = step(state)
    assert (np.diff(energies) < 0).all() and int(recurrence.fallbacks(state)) > 0


@pytest.mark.nightly
def test_the_fallback_takes_over_where_the_iteration_ends_without_success():
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    method = DeepCG(identity, rtol=1e-4, max_steps=3, fallback=CG())
    solution = compiled(method)(a, b)
    assert int(solution.status) == Status.converged and solution.method == "DeepCG(function, CG)"
    rest = int(solution.iterations) - 3
    assert rest > 0 and int(solution.stats.fallbacks) == rest
    without = compiled(DeepCG(identity, rtol=1e-4, max_steps=3))(a, b)
    assert (int(without.status), int(without.iterations)) == (Status.max_steps, 3)
    # Converged before: the other method does nothing.
    done = compiled(DeepCG(Inverse(), rtol=1e-3, fallback=CG()))(a, b)
    assert (int(done.iterations), int(done.stats.fallbacks)) == (1, 0)


@pytest.mark.filterwarnings("ignore:solve. rtol")
def test_failures_have_the_right_status():
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    indefinite = compiled(DeepCG(identity))(-a, b)
    assert int(indefinite.status) == Status.breakdown
    floor = compiled(DeepCG(identity, rtol=1e-12))(a, b)
    assert int(floor.status) == Status.stagnated and float(floor.stats.residual) < 1e-4 * np.linalg.norm(B)
    none = compiled(DeepCG(identity, max_steps=0))(a, b)
    assert (int(none.status), int(none.iterations)) == (Status.max_steps, 0)
    assert int(compiled(DeepCG(identity))(a, 0 * b).iterations) == 0


@pytest.mark.nightly
def test_a_singular_operator_with_a_right_hand_side_in_its_range():
    operator = Laplacian((6, 5), (1.0, 1.0), ("neumann", "periodic"), dtype=jnp.float32)
    b = jnp.asarray(B[:6, :5], jnp.float32)
    b = b - b.mean()
    solution = solve(operator, b, DeepCG(identity, rtol=1e-4))
    assert int(solution.status) == Status.converged
    np.testing.assert_allclose(operator.mv(solution.value), b, atol=2e-3)


def test_gradients_through_the_solve_against_finite_differences(x64):
    w = np.random.default_rng(2).normal(size=SHAPE)

    @jax.jit
    def value(a, b):
        return (jnp.asarray(w) * solve(diffusion(a), b, DeepCG(Inverse(), rtol=1e-12)).value).sum()

    a, b = jnp.asarray(A), jnp.asarray(B)
    gradients = jax.jit(jax.grad(value, argnums=(0, 1)))(a, b)
    for i, (x, seed) in enumerate(((a, 3), (b, 4))):
        step = jnp.asarray(np.random.default_rng(seed).normal(size=x.shape))
        shifted = [[a, b], [a, b]]
        for s, sign in zip(shifted, (1, -1), strict=True):
            s[i] = x + sign * 1e-5 * step
        difference = (value(*shifted[0]) - value(*shifted[1])) / 2e-5
        np.testing.assert_allclose((gradients[i] * step).sum(), difference, rtol=1e-6)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="max_steps must not be negative, got -2"):
        DeepCG(identity, max_steps=-2)
    with pytest.raises(TypeError, match="direction must be a map of residuals"):
        DeepCG(3.0)
