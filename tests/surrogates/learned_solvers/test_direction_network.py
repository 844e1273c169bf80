"""Learned search directions: structure, training systems, losses, and the shipped weights on domains they have not seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.core import storage
from surrogax.solvers.kernels import stencil
from surrogax.solvers.linear import CG, DeepCG, Diffusion, FastPoisson, Laplacian, Status, solve
from surrogax.surrogates.learned_solvers import (
    DirectionNetwork,
    DirectionObjective,
    MixedDomains,
    MultilevelDirection,
    RandomDomains,
    SineSystems,
    mixed_domain,
    random_domain,
    ritz_mix,
    ritz_vectors,
    sine_mix,
)
from surrogax.surrogates.learned_solvers.layers import convolve

DIRICHLET = ("dirichlet", "dirichlet")


def box(n, m, boundaries=DIRICHLET):
    return Diffusion(stencil.unit_faces((n, m), boundaries), (n, m), (1.0, 1.0), boundaries)


# Networks -------------------------------------------------------------------------------------------------------------


def test_the_papers_networks_have_their_numbers_of_parameters(key):
    assert sx.count_parameters(DirectionNetwork.paper(64, key=key)) == 97457
    assert sx.count_parameters(DirectionNetwork.paper(128, key=key)) == 152881


@pytest.mark.nightly
@pytest.mark.parametrize("shape", [(9, 6), (5, 4, 7)])
def test_networks_map_fields_of_any_shape_to_fields(key, shape):
    r = jax.random.normal(key, shape)
    q = eqx.filter_jit(DirectionNetwork(len(shape), channels=3, blocks=(1, 1, 1), levels=2, key=key))(r)
    assert q.shape == shape and jnp.isfinite(q).all() and jnp.abs(q).max() > 0


@pytest.mark.nightly
@pytest.mark.parametrize("shape", [(9, 6), pytest.param((5, 4, 6), marks=pytest.mark.nightly)])
def test_the_multilevel_direction_is_linear_in_the_residual_and_free_of_units(key, shape):
    dim = len(shape)
    direction = MultilevelDirection(dim, hidden=4, coarsest=8, key=key)
    boundaries = ("dirichlet", "neumann", "dirichlet")[:dim]
    a = jnp.exp(
        0.3 * jax.random.normal(key, tuple(n + 2 * (b == "dirichlet") for n, b in zip(shape, boundaries, strict=True)))
    )
    faces = stencil.face_means(a, boundaries, "harmonic")
    solid = jnp.zeros(shape, bool).at[2, 1].set(True)
    operator = Diffusion(faces, shape, (0.5,) * dim, boundaries).with_obstacle(solid)
    scaled = Diffusion([7 * f for f in faces], shape, (0.5,) * dim, boundaries).with_obstacle(solid)
    x, y = jax.random.normal(key, (2, *shape))
    map_of = jax.jit(lambda operator, fields: jax.vmap(direction.bind(operator))(fields))
    qx, qy, combined = map_of(operator, jnp.stack([x, y, 2 * x - 3 * y]))
    np.testing.assert_allclose(combined, 2 * qx - 3 * qy, atol=1e-4)
    np.testing.assert_allclose(map_of(scaled, jnp.stack([x, y, x]))[0], qx, atol=1e-4)


@pytest.mark.nightly
def test_directions_compute_in_their_own_precision(key):
    direction = MultilevelDirection(2, hidden=2, coarsest=8, key=key)
    with jax.enable_x64(True):
        operator = Laplacian((3, 3), (0.25, 0.25), DIRICHLET, dtype=jnp.float64)
        q = jax.jit(lambda r: direction.bind(operator)(r))(jnp.ones((3, 3), jnp.float64))
        assert q.dtype == jnp.float64 and (q == q.astype(jnp.float32)).all()


@pytest.mark.nightly
def test_the_direction_does_not_depend_on_how_the_operator_is_written(key):
    """Dirichlet sides as faces or as shift; a box as `Laplacian`, as `Diffusion`, or cut out of a larger one by solid points; a
    channel as a box or as a ring with closed faces."""
    direction = MultilevelDirection(2, hidden=4, coarsest=8, key=key)
    r = jax.random.normal(key, (6, 5))
    of = jax.jit(lambda operator, r: direction.bind(operator)(r))
    direct = of(box(6, 5), r)
    shift = sum(jnp.zeros((6, 5)).at[index].add(1.0) for index in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]))
    neumann, ring = ("neumann", "neumann"), ("periodic", "neumann")
    in_shift = Diffusion(stencil.unit_faces((6, 5), neumann), (6, 5), (1.0, 1.0), neumann, shift)
    faces = stencil.unit_faces((6, 5), ring)
    closed = Diffusion((faces[0].at[-1].set(0), faces[1]), (6, 5), (1.0, 1.0), ring, shift)
    plain = Laplacian((6, 5), (0.1, 0.1), DIRICHLET, dtype=jnp.float32)
    for other in (in_shift, plain, closed):
        np.testing.assert_allclose(of(other, r), direct, atol=1e-4)
    solid = jnp.ones((8, 8), bool).at[:6, :5].set(False)
    cut = of(box(8, 8).with_obstacle(solid), jnp.pad(r, ((0, 2), (0, 3))))
    np.testing.assert_allclose(cut[:6, :5] / jnp.linalg.norm(cut), direct / jnp.linalg.norm(direct), atol=1e-3)


@pytest.mark.nightly
@pytest.mark.parametrize("boundaries", [pytest.param(DIRICHLET, marks=pytest.mark.nightly), ("periodic", "neumann")])
def test_the_direction_is_symmetric_and_positive_and_solves_what_is_small(key, boundaries):
    operator = box(9, 7, boundaries)
    apply = jax.jit(lambda d, r: d.bind(operator)(r))
    unit = jnp.eye(63).reshape(63, 9, 7)
    for coarsest in (8, 100):
        direction = MultilevelDirection(2, hidden=4, coarsest=coarsest, key=key)
        matrix = np.asarray(jax.vmap(lambda r, d=direction: apply(d, r))(unit), np.float64).reshape(63, 63)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-5 * np.abs(matrix).max())
        exact = np.asarray(operator.as_matrix(), np.float64)
        values = np.sort(np.linalg.eigvals(matrix @ exact).real)[0 if boundaries == DIRICHLET else 1 :]
        assert values[0] > 0 and values[-1] / values[0] < (1.01 if coarsest == 100 else 3)


def test_directions_are_stored_and_found_by_name(key, tmp_path):
    direction = MultilevelDirection(2, hidden=2, coarsest=8, key=key)
    storage.save(tmp_path / "d.sgx", direction)
    back = sx.load(tmp_path / "d.sgx")
    for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(direction), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (back.dim, back.coarsest) == (direction.dim, direction.coarsest)
    assert [member.dim for member in sx.load("deepcg-poisson-64").members] == [2, 3]
    with pytest.raises(ValueError, match=r"none of the shipped weights.*deepcg-poisson-64"):
        sx.load("deepcg-poisson-65")
    with pytest.raises(ValueError, match=r"trained for \[2, 3\] space dimensions, not for 1"):
        sx.load("deepcg-poisson-64").bind(Laplacian((8,), (0.1,), ("dirichlet",)))


@pytest.mark.parametrize("shape, window", [((7, 5), (3, 3)), ((4, 6, 5), (3, 3, 3)), ((4, 3), (1, 1)), ((9,), (5,))])
def test_convolution_is_that_of_xla(shape, window, key):
    k1, k2 = jax.random.split(key)
    x, kernel = jax.random.normal(k1, (*shape, 2)), jax.random.normal(k2, (*window, 2, 3))
    letters = "DHW"[-len(shape) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    expected = jax.lax.conv_general_dilated(x[None], kernel, (1,) * len(shape), "SAME", dimension_numbers=numbers)[0]
    np.testing.assert_allclose(convolve(x, kernel), expected, atol=1e-5)


# Training systems -----------------------------------------------------------------------------------------------------


def test_ritz_vectors_of_all_steps_are_the_eigenvectors(key):
    with jax.enable_x64(True):
        operator = box(4, 5)
        operator = Diffusion(operator.faces, (4, 5), (0.2, 1 / 6), DIRICHLET)
        values, vectors = jax.jit(lambda: ritz_vectors(operator, 20, jax.random.key(1)))()
        exact = np.linalg.eigvalsh(operator.as_matrix())
        np.testing.assert_allclose(values, exact, rtol=1e-10)
        flat = np.asarray(vectors).reshape(20, 20)
        np.testing.assert_allclose(flat @ flat.T, np.eye(20), atol=1e-10)
        np.testing.assert_allclose(flat @ np.asarray(operator.as_matrix()) @ flat.T, np.diag(exact), atol=1e-8)
        np.testing.assert_allclose(jnp.linalg.norm(ritz_mix(vectors, key)), 1, rtol=1e-10)


@pytest.mark.nightly
def test_the_sine_mix_is_heavy_in_the_lower_half_of_the_spectrum(key):
    """Mean square of the coefficients: 81 to 1, over the lower 55 % and the rest."""
    n = 12
    matrix = np.asarray(box(n, n).as_matrix(), np.float64)
    _, vectors = np.linalg.eigh(matrix)
    mixes = np.asarray(jax.vmap(lambda k: sine_mix((n, n), k))(jax.random.split(key, 200))).reshape(200, -1)
    np.testing.assert_allclose(np.linalg.norm(mixes, axis=1), 1, rtol=1e-5)
    squares = ((mixes @ vectors) ** 2).mean(0)
    border = int(0.55 * n * n)
    assert 70 < squares[: border - 4].mean() / squares[border + 4 :].mean() < 92


@pytest.mark.nightly
def test_random_domains_are_symmetric_positive_systems_with_their_solution():
    side, dim = 5, 3
    systems = RandomDomains(side, dim, steps=5)
    sample = jax.jit(lambda k: systems.sample(k, 2))
    matrix = jax.jit(lambda k: random_domain(k, side, dim).as_matrix())
    singular = 0
    for seed in range(8):
        _, e, r = sample(jax.random.key(seed))
        a = np.asarray(matrix(jax.random.split(jax.random.key(seed), 3)[0]), np.float64)
        np.testing.assert_array_equal(a, a.T)
        least = np.linalg.eigvalsh(a)[0]
        assert least > -1e-6
        singular += least < 1e-6
        np.testing.assert_allclose(a @ np.asarray(e[0]).ravel(), np.asarray(r[0]).ravel(), atol=1e-5)
        assert float(jnp.linalg.norm(r[0])) == pytest.approx(1, abs=1e-4)
    assert singular < 8


def test_sine_systems_hold_the_exact_error(key):
    operator, e, r = SineSystems((5, 7)).sample(key, 2)
    np.testing.assert_allclose(jax.vmap(operator.mv)(e), r, atol=1e-5)


# Losses and training --------------------------------------------------------------------------------------------------


def loss_of(objective, direction, key):
    """The loss of a direction on fresh systems, which an objective with `renew=0` makes in every step."""
    return objective.value(direction, objective.draw(None, None, key))[0]


class Scaled(eqx.Module):
    factor: jax.Array

    def __call__(self, r):
        return self.factor * jnp.sin(3 * r)


def test_losses_do_not_depend_on_the_length_of_the_direction(key):
    @jax.jit
    def losses(factor):
        kinds = [
            DirectionObjective(SineSystems((4, 5)), kind, domains=1, lanes=2, renew=0)
            for kind in ("residual", "energy", "rate")
        ]
        return jnp.stack([loss_of(o, Scaled(factor), key) for o in kinds])

    for factor in (1e3, -1e-3):
        np.testing.assert_allclose(losses(jnp.asarray(factor)), losses(jnp.asarray(1.0)), rtol=1e-4)


def test_the_exact_direction_has_the_least_loss(key):
    exact = FastPoisson((1.0, 1.0), DIRICHLET)
    for kind, least in (("residual", 0.0), ("energy", -np.log(1.02)), ("rate", np.log(1e-3))):
        objective = DirectionObjective(SineSystems((7, 6)), kind, domains=1, lanes=3, renew=0)
        value = jax.jit(lambda k, o=objective: loss_of(o, exact, k))(key)
        assert float(value) == pytest.approx(least, abs=2e-3 if kind == "rate" else 1e-4)


@pytest.mark.nightly
def test_training_lowers_the_loss_and_keeps_the_best_by_the_measure(key):
    direction = MultilevelDirection(2, 4, coarsest=8, key=key)
    objective = DirectionObjective(RandomDomains(8, steps=5), domains=4, lanes=1)
    seen, measures = [], iter([2.0, 1.0, 3.0])

    def iterations(direction):
        seen.append(np.asarray(direction.base))
        return next(measures)

    result = sx.fit(
        direction,
        objective=objective,
        optimizer=optax.adam(3e-3),
        steps=120,
        val=iterations,
        check_every=40,
        key=jax.random.key(2),
        progress=False,
    )
    assert result.history.val == [[2.0], [1.0], [3.0]] and len(result.history.loss) == 3
    # On the same fresh systems: the training loss itself is the mean over four domains that change.
    fresh = DirectionObjective(RandomDomains(8, steps=5), domains=16, renew=0)
    before, after = (jax.jit(lambda d: loss_of(fresh, d, key))(d) for d in (direction, result.last))
    assert after < 0.6 * before
    np.testing.assert_array_equal(result.best.base, seen[1])
    np.testing.assert_array_equal(result.last.base, seen[2])


def test_an_unknown_loss_is_refused():
    objective = DirectionObjective(SineSystems((4, 5)))
    object.__setattr__(objective, "loss", "energie")
    with pytest.raises(ValueError, match="use 'residual', 'energy' or 'rate'"):
        objective.__check_init__()


def test_directions_need_systems_and_a_measure_for_validation(key):
    direction = MultilevelDirection(2, 2, key=key)
    options = {"optimizer": optax.adam(1e-3), "steps": 2, "progress": False}
    with pytest.raises(TypeError, match="systems"):
        sx.fit(direction, **options)
    data = sx.from_arrays({"u": np.zeros((2, 4, 5))}, grid=sx.Grid.unit((4, 5)))
    with pytest.raises(ValueError, match="MultilevelDirection learns from its objective alone"):
        sx.fit(direction, val=data, systems=SineSystems((4, 5)), **options)
    objective = DirectionObjective(SineSystems((4, 5)))
    with pytest.raises(ValueError, match=r"fit\(renew=…\).*DirectionObjective"):
        sx.fit(direction, objective=objective, renew=3, **options)


# Shipped weights ------------------------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_the_shipped_weights_on_obstacles_and_sizes_they_have_not_seen():
    direction = sx.load("deepcg-poisson-64")
    assert sx.count_parameters(direction.members[0]) < 300
    n = 90
    x, y = np.meshgrid(*[np.linspace(0, 1, n)] * 2, indexing="ij")
    solid = (np.hypot(x - 0.3, y - 0.6) < 0.15) | ((abs(x - 0.7) < 0.03) & (y < 0.7))
    operator = Diffusion(stencil.unit_faces((n, n), DIRICHLET), (n, n), (1 / (n + 1),) * 2, DIRICHLET)
    operator = operator.with_obstacle(solid)
    b = jnp.where(jnp.asarray(solid), 0, jax.random.normal(jax.random.key(5), (n, n)))
    stats = solve(operator, b, DeepCG(direction, rtol=1e-5)).stats
    plain = solve(operator, b, CG(rtol=1e-5)).stats
    assert int(stats.status) == Status.converged and int(stats.fallbacks) == 0
    assert int(stats.iterations) <= 9 and int(plain.iterations) >= 10 * int(stats.iterations)


def shipped_and_plain(operator, b, rtol):
    stats = solve(operator, b, DeepCG(sx.load("deepcg-poisson-64"), rtol=rtol)).stats
    return stats, solve(operator, b, CG(rtol=rtol, max_steps=3000)).stats


@pytest.mark.nightly
def test_the_shipped_weights_keep_the_two_sides_of_thin_walls_apart():
    """A comb of walls of one point, which makes a channel of 3 points as long as the box is large, without flux."""
    n, neumann = 48, ("neumann", "neumann")
    solid = np.zeros((n, n), bool)
    solid[3::8, : n - 3] = True
    solid[7::8, 3:] = True
    operator = Diffusion(stencil.unit_faces((n, n), neumann), (n, n), (1.0, 1.0), neumann)
    b = np.where(solid, 0, np.random.default_rng(0).normal(size=(n, n)))
    b = jnp.asarray(np.where(solid, 0, b - b.sum() / (~solid).sum()), jnp.float32)
    stats, plain = shipped_and_plain(operator.with_obstacle(jnp.asarray(solid), "neumann"), b, 1e-4)
    assert int(stats.status) == Status.converged and int(plain.iterations) >= 20 * int(stats.iterations)


@pytest.mark.nightly
def test_the_shipped_weights_see_periodic_axes():
    n, boundaries = 32, ("periodic", "dirichlet")
    operator = Diffusion(stencil.unit_faces((n + 1, n), boundaries), (n + 1, n), (1.0, 1.0), boundaries)
    b = jax.random.normal(jax.random.key(2), (n + 1, n))
    stats, plain = shipped_and_plain(operator, b, 1e-4)
    assert int(stats.status) == Status.converged and int(plain.iterations) >= 10 * int(stats.iterations)


@pytest.mark.nightly
def test_mixed_domains_are_symmetric_positive_systems_with_their_solution():
    systems = MixedDomains(6, steps=5)
    sample = jax.jit(lambda k: systems.sample(k, 2))
    matrix = jax.jit(lambda k: mixed_domain(k, 6).as_matrix())
    for seed in range(8):
        _, e, r = sample(jax.random.key(seed))
        a = np.asarray(matrix(jax.random.split(jax.random.key(seed))[0]), np.float64)
        np.testing.assert_array_equal(a, a.T)
        assert np.linalg.eigvalsh(a)[0] > -1e-6
        np.testing.assert_allclose(a @ np.asarray(e[0]).ravel(), np.asarray(r[0]).ravel(), atol=1e-5)
