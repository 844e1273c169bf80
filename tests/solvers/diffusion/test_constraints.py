"""Hard constraints: projections against dense algebra, samples against exact conditionals, ECI and PCFM against their papers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax import diffusion

N = 12
RNG = np.random.default_rng(0)
SQUARE = RNG.standard_normal((N, N)) / np.sqrt(N)
COVARIANCE = SQUARE @ SQUARE.T + 0.05 * np.eye(N)
MEAN = RNG.standard_normal(N)
ROWS = RNG.standard_normal((3, N))
VALUES = RNG.standard_normal(3)


def denoise(x, sigma, condition=None):
    """The exact denoiser of N(MEAN, COVARIANCE)."""
    gain = jnp.asarray(COVARIANCE) @ jnp.linalg.inv(jnp.asarray(COVARIANCE) + sigma**2 * jnp.eye(N))
    return jnp.asarray(MEAN) + gain @ (x - jnp.asarray(MEAN))


def conditional(rows, values):
    """Mean and covariance of N(MEAN, COVARIANCE) given rows · x = values."""
    gain = COVARIANCE @ rows.T @ np.linalg.inv(rows @ COVARIANCE @ rows.T)
    return MEAN + gain @ (values - rows @ MEAN), COVARIANCE - gain @ rows @ COVARIANCE


OPTIONS = {"schedule": diffusion.EDM(sigma_max=40.0), "shape": (N,), "n": 3000, "key": jax.random.key(1)}


@pytest.mark.parametrize(
    "solver", [diffusion.UniPC(3), pytest.param(diffusion.DPMSolverPP(2, eta=1.0), marks=pytest.mark.nightly)]
)
def test_samples_of_a_gaussian_are_those_of_its_conditional(solver):
    h = diffusion.LinearCondition(ROWS, VALUES)
    x = diffusion.sample(denoise, solver, times=60, constraint=diffusion.Constraint(h), **OPTIONS)
    x = np.asarray(x, np.float64)
    mean, covariance = conditional(ROWS, VALUES)
    assert np.abs(x @ ROWS.T - VALUES).max() < 1e-5
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(x.mean(0) - mean) < 5 * deviation / np.sqrt(len(x)) + 0.01).all()
    assert np.abs(np.cov(x.T) - covariance).max() < 5 * np.sqrt(2 / len(x)) * covariance.diagonal().max()
    # A projection along no covariance is not calibrated, which this bed must show.
    flat = diffusion.sample(
        denoise, solver, times=20, constraint=diffusion.Constraint(h, metric="euclidean"), **{**OPTIONS, "n": 500}
    )
    assert np.linalg.norm(flat.mean(0) - mean) > 5 * np.linalg.norm(x.mean(0) - mean)


@pytest.mark.nightly
def test_the_conditional_of_coloured_noise():
    """With noise of covariance K the denoiser is another one, the data are the same."""
    colour = (
        np.diag(np.linspace(0.3, 2.0, N))
        @ (np.eye(N) + 0.3 * np.eye(N, k=1) + 0.3 * np.eye(N, k=-1))
        @ np.diag(np.linspace(0.3, 2.0, N))
    )
    root = np.linalg.cholesky(colour)

    class Noise(diffusion.AbstractColouredNoise):
        def __call__(self, key, shape):
            return jnp.asarray(root) @ jax.random.normal(key, shape)

        def covariance(self, x):
            return jnp.asarray(colour) @ x

    def coloured(x, sigma, condition):
        noisy = jnp.asarray(COVARIANCE) + sigma**2 * jnp.asarray(colour)
        return jnp.asarray(MEAN) + jnp.asarray(COVARIANCE) @ jnp.linalg.solve(noisy, x - jnp.asarray(MEAN))

    h = diffusion.LinearCondition(ROWS, VALUES)
    x = diffusion.sample(
        coloured, diffusion.UniPC(3), times=60, constraint=diffusion.Constraint(h), noise=Noise(), **OPTIONS
    )
    mean, covariance = conditional(ROWS, VALUES)
    assert (np.abs(x.mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / len(x)) + 0.01).all()
    assert np.abs(np.cov(np.asarray(x).T) - covariance).max() < 5 * np.sqrt(2 / len(x)) * covariance.diagonal().max()
    with pytest.raises(ValueError, match="covariance of noise"):
        diffusion.sample(
            coloured, diffusion.DDIM(), times=3, constraint=diffusion.Constraint(h),
            noise=lambda key, shape: jax.random.normal(key, shape), **OPTIONS,
        )  # fmt: skip


@pytest.mark.nightly
def test_guidance_and_constraint_together():
    """Observed with errors and known exactly: the posterior given both."""
    observed, std = np.array([0.5, -1.0]), 0.2
    guided = diffusion.MomentMatched()(denoise, diffusion.Observation(lambda x: x[:2], observed, std=std))
    h = diffusion.LinearCondition(ROWS, VALUES)
    x = diffusion.sample(guided, diffusion.UniPC(3), times=40, constraint=diffusion.Constraint(h), **OPTIONS)
    rows = np.concatenate([ROWS, np.eye(N)[:2]])
    noise = np.diag([0.0, 0.0, 0.0, std**2, std**2])
    gain = COVARIANCE @ rows.T @ np.linalg.inv(rows @ COVARIANCE @ rows.T + noise)
    mean = MEAN + gain @ (np.concatenate([VALUES, observed]) - rows @ MEAN)
    covariance = COVARIANCE - gain @ rows @ COVARIANCE
    assert (np.abs(x.mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / len(x)) + 0.02).all()
    assert np.abs(np.cov(np.asarray(x).T) - covariance).max() < 0.1 * covariance.diagonal().max()


GRID = sx.Box(x=(0, 1, "periodic"), y=(0, 2, "periodic")).grid((6, 8))
WALLS = sx.Box(x=(0, 1, "periodic"), y=(0, 2, "neumann")).grid((5, 6))
CONDITIONS = {
    "values": ((4, 3), diffusion.KnownValues.at((4, 3), np.s_[1:3, ::-2], np.array([[1.0, 2.0], [3.0, 4.0]]))),
    "boundary": ((4, 3, 2), diffusion.KnownValues.boundary((4, 3, 2), 0.5)),
    "linear": ((4, 3), diffusion.LinearCondition(RNG.standard_normal((3, 4, 3)), np.array([1.0, 2.0, 3.0]))),
    "dependent": ((4, 3), diffusion.LinearCondition(np.ones((3, 4, 3)) * [[[1]], [[1]], [[2]]], [2.0, 2, 4])),
    "mass": ((3, 4, 2), diffusion.Mass(np.array([1.0, -1.0]), np.ones((3, 4)))),
    "mass in time": ((3, 4, 2), diffusion.Mass(2.0, np.ones(4), axis=1)),
    "divergence": ((6, 8, 2), diffusion.DivergenceFree(GRID)),
    "divergence at faces": ((6, 8, 2), diffusion.DivergenceFree(GRID, "faces")),
    "divergence with walls": ((5, 6, 2), diffusion.DivergenceFree(WALLS, "faces")),
    "function": ((4, 3), diffusion.Equation(lambda x: jnp.stack([x.sum() - 1, x[0, 0] - x[1, 1]]), steps=2)),
    "together": (
        (4, 3),
        diffusion.Together(diffusion.Mass(1.0, np.ones((4, 3))), diffusion.KnownValues.at((4, 3), np.s_[0], 2.0)),
    ),
}  # fmt: skip


@pytest.mark.quick("values", "dependent", "divergence", "divergence with walls", "together")
@pytest.mark.parametrize("name", CONDITIONS)
def test_projections_are_those_of_dense_algebra(name, x64):
    """x − J⁺ h(x), J the derivative of h as a matrix."""
    shape, h = CONDITIONS[name]
    x = np.random.default_rng(3).standard_normal(shape)
    matrix = np.asarray(jax.jacobian(h.residual)(x)).reshape(-1, x.size)
    expected = x - (np.linalg.pinv(matrix, rcond=1e-6) @ np.asarray(h.residual(jnp.asarray(x)))).reshape(shape)
    found = h.nearest(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, atol=3e-7)  # conditions made in float32 hold its digits
    assert float(abs(h.residual(found)).max()) < 3e-7
    np.testing.assert_allclose(h.nearest(found), found, atol=1e-7)


@pytest.mark.nightly
def test_single_precision_meets_constraints_to_its_digits(key):
    for shape, h in CONDITIONS.values():
        found = jax.vmap(h.nearest)(10 * jax.random.normal(key, (5, *shape)))
        assert float(abs(jax.vmap(h.residual)(found)).max()) < 2e-5


def test_mass_in_another_norm(key):
    """With quadrature weights the shift is a constant, and the total that of the weights."""
    weights = np.array([0.5, 1.0, 1.0, 0.5])
    x = jax.random.normal(key, (4, 2))
    found = diffusion.Mass(2.0, weights).nearest(x)
    np.testing.assert_allclose(weights @ found, [2.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose((found - x).std(0), 0, atol=1e-6)


def test_a_divergence_free_field_stays(x64):
    """∇⊥ψ of a smooth stream function is free of divergence at the points, and not changed."""
    x, y = np.moveaxis(GRID.points, -1, 0)
    along = 2 * np.pi * np.cos(2 * np.pi * x) * np.cos(np.pi * y)
    v = np.stack([-np.sin(2 * np.pi * x) * np.pi * -np.sin(np.pi * y), -along], -1)
    v = np.stack(
        [np.pi * np.sin(2 * np.pi * x) * np.sin(np.pi * y), 2 * np.pi * np.cos(2 * np.pi * x) * np.cos(np.pi * y)], -1
    )
    h = diffusion.DivergenceFree(GRID)
    assert float(abs(h.residual(jnp.asarray(v))).max()) < 1e-12
    np.testing.assert_allclose(h.nearest(jnp.asarray(v)), v, atol=1e-12)


def test_nonlinear_equations():
    """Energy and a product: Newton steps in every metric; too few are told."""

    def h(x):
        return jnp.stack([jnp.mean(x**2) - 1, x[0] * x[1] - 0.3])

    options = {**OPTIONS, "n": 20}
    for metric in ("covariance", "euclidean"):
        x = diffusion.sample(
            denoise, diffusion.UniPC(2), times=12, constraint=diffusion.Constraint(h, metric=metric), **options
        )
        assert float(abs(jax.vmap(h)(x)).max()) < 1e-4
    with pytest.raises(FloatingPointError, match="of 20 samples do not meet the constraint"):
        far = diffusion.Constraint(diffusion.Equation(lambda x: jnp.sum(x**2) + 1.0), metric="euclidean")
        diffusion.sample(denoise, diffusion.UniPC(2), times=4, constraint=far, **options)


def flow_velocity(x, t):
    """The velocity from noise (t = 0) to data (t = 1) of ECI and PCFM, from the denoiser."""
    s = (1 - t) / t
    return (denoise(x / t, s) - x) / (1 - t)


def by_the_papers(kind, noise, fresh, mix, steps, penalty):
    """ECI and PCFM for linear equations, in their own time and variables."""
    back = ROWS.T @ np.linalg.inv(ROWS @ ROWS.T)
    x, x0, used = noise, noise, 0
    times = np.linspace(1e-3, 1, steps + 1)
    for t, after in itertools.pairwise(times):
        for repeat in range(mix):
            v = np.asarray(flow_velocity(x, t))
            x1 = x + (1 - t) * v
            x1 = x1 - back @ (ROWS @ x1 - VALUES)
            if fresh is not None:
                x0, used = fresh[used], used + 1
            to = after if repeat == mix - 1 else t
            x = to * x1 + (1 - to) * x0
            if kind == "pcfm":
                end = x + (1 - to) * v
                x = x - penalty * ROWS.T @ np.linalg.solve(np.eye(3) + penalty * ROWS @ ROWS.T, ROWS @ end - VALUES)
    return x


@pytest.mark.quick("eci, fresh", "pcfm")
@pytest.mark.parametrize("kind", ["eci", "eci, fresh", "pcfm"])
def test_eci_and_pcfm_are_settings(kind, x64):
    """Step by step as published, in float64."""
    steps, mix, key = 4, (1 if kind == "pcfm" else 3), jax.random.key(5)
    schedule = diffusion.FlowMatching(start=1 - 1e-3)
    # The penalty of PCFM is on h itself, not on orthonormal combinations of its equations.
    h = diffusion.Equation(lambda x: jnp.asarray(ROWS) @ x - jnp.asarray(VALUES), steps=2)
    rule = {
        "eci": diffusion.Constraint.eci(h, mix),
        "eci, fresh": diffusion.Constraint.eci(h, mix, renew=1),
        "pcfm": diffusion.Constraint.pcfm(h, relax=0.7),
    }[kind]
    found = diffusion.sample(
        denoise, diffusion.DDIM(), schedule=schedule, times=diffusion.UniformTime(steps * mix), shape=(N,), n=1, key=key,
        constraint=rule,
    )  # fmt: skip
    own = jax.random.fold_in(key, 0)
    first = np.asarray(jax.random.normal(jax.random.fold_in(own, 0), (N,), jnp.float64))
    # Sampling starts at t = 1e-3 with pure noise of the size that a state has there.
    drawn = [
        np.asarray(jax.random.normal(jax.random.fold_in(own, i + 1), (N,), jnp.float64)) for i in range(steps * mix)
    ]
    kept = first
    expected = by_the_papers(kind.split(",")[0], kept * (1 - 1e-3), drawn if "fresh" in kind else None, mix, steps, 0.7)
    if "fresh" in kind:
        np.testing.assert_allclose(found[0], expected, atol=1e-5)
    else:
        other = by_the_papers(kind, kept * (1 - 1e-3), [kept] * (steps * mix), mix, steps, 0.7)
        np.testing.assert_allclose(found[0], other, atol=1e-5)


def test_noise_is_renewed_after_so_many_evaluations():
    """Between draws the noise stays: of D = 0 the point is the level times it."""
    condition = diffusion.KnownValues.at((N,), np.s_[0], 0.0)
    path = diffusion.sample(
        lambda x, s, c: 0 * x, diffusion.DDIM(), schedule=diffusion.EDM(), times=12, shape=(N,), n=1, key=jax.random.key(0),
        constraint=diffusion.Constraint.eci(condition, mix=2, renew=3), trajectory=True,
    )  # fmt: skip
    noise = np.asarray(path.points[0]) / path.levels[:, None]
    same = [bool(np.allclose(a, b, atol=1e-4)) for a, b in itertools.pairwise(noise)]
    assert same == [True, True, False] * 3 + [True, True]


@pytest.mark.nightly
def test_when_and_the_end():
    """when=0 is a projection of what is sampled without; in between the constraint acts on low noise alone."""
    h = diffusion.LinearCondition(ROWS, VALUES)
    options = {**OPTIONS, "n": 4, "times": 8}
    plain = diffusion.sample(denoise, diffusion.UniPC(2), **options)
    end = diffusion.sample(denoise, diffusion.UniPC(2), constraint=diffusion.Constraint(h, when=0.0), **options)
    np.testing.assert_allclose(end, jax.vmap(h.nearest)(plain), atol=1e-5)
    path = diffusion.sample(
        denoise, diffusion.UniPC(2), constraint=diffusion.Constraint(h, when=1.0), trajectory=True, **options
    )
    met = np.abs(np.asarray(path.denoised) @ ROWS.T - VALUES).max((0, 2)) < 1e-4
    assert (met == (path.levels <= 1.0)).all() and met.any() and not met.all()


def test_constrained_samples_have_derivatives_under_jit_and_vmap(x64):
    def first(value):
        h = diffusion.LinearCondition(ROWS, value)
        return diffusion.sample(
            denoise, diffusion.UniPC(2), times=6, constraint=diffusion.Constraint(h), **{**OPTIONS, "n": 2}
        ).sum()

    slope = jax.jit(jax.grad(first))(jnp.asarray(VALUES))
    step = np.array([1e-4, 0, 0])
    np.testing.assert_allclose(slope[0], (first(VALUES + step) - first(VALUES - step)) / 2e-4, rtol=1e-5)
    several = jax.vmap(first)(jnp.stack([jnp.asarray(VALUES), jnp.asarray(VALUES + 1)]))
    np.testing.assert_allclose(several[0], first(VALUES), rtol=1e-6)


@pytest.mark.parametrize(
    "made, message",
    [
        (lambda: diffusion.LinearCondition(np.ones((2, 3)), [1.0, 2.0]), "no sample meets all of the 2 equations"),
        (lambda: diffusion.LinearCondition(np.zeros((2, 3)), [0.0, 0.0]), "all rows are zero"),
        (lambda: diffusion.LinearCondition(np.ones((2, 3)), [1.0, np.nan]), "not all numbers are finite"),
        (lambda: diffusion.LinearCondition(np.ones((2, 3)), [1.0]), r"\(2, 3\) and \(1,\)"),
        (lambda: diffusion.KnownValues(np.zeros(3, bool), 0.0), "no entry is known"),
        (lambda: diffusion.KnownValues(np.ones(3, bool), np.nan), "not all numbers are finite"),
        (
            lambda: diffusion.KnownValues(np.ones((3, 2), bool), np.ones((2, 3))),
            r"\(2, 3\) do not broadcast to \(3, 2\)",
        ),
        (lambda: diffusion.Mass(1.0, [1.0, -1.0]), "sum is not zero"),
        (lambda: diffusion.DivergenceFree(WALLS), "not periodic along every axis"),
        (lambda: diffusion.Constraint(lambda x: x, renew=2), "give mix=1"),
        (lambda: diffusion.Constraint(lambda x: x, when=-1.0), "0 or more"),
        (lambda: diffusion.Together(), "one condition or more"),
    ],
)
def test_conditions_that_are_none_are_told(made, message):
    with pytest.raises(ValueError, match=message):
        made()


@pytest.mark.parametrize(
    "constraint, options, error, message",
    [
        (diffusion.Constraint(diffusion.Mass(1.0, np.ones(5))), {}, ValueError, r"weights \(5,\) .* a sample has \(12,\)"),
        (diffusion.Constraint(diffusion.KnownValues.at((5,), 0, 1.0)), {}, ValueError, r"samples of shape \(5,\)"),
        (diffusion.Constraint.eci(diffusion.Mass(1.0, np.ones(N))), {"solver": diffusion.UniPC(2)}, ValueError, "DDIM"),
        (diffusion.Constraint.eci(diffusion.Mass(1.0, np.ones(N)), mix=3), {}, ValueError, "4 evaluations are not possible, 6"),
        (diffusion.Constraint(diffusion.Mass(1.0, np.ones(N))), {"times": diffusion.Rho(4, to_zero=False)}, ValueError, "zero"),
        (diffusion.Constraint(lambda x: x[:1] * jnp.nan, metric="euclidean"), {}, FloatingPointError, "finite"),
        (
            diffusion.Constraint(
                diffusion.Together(diffusion.Mass(1.0, np.ones(N)), diffusion.Mass(2.0, np.ones(N))), metric="euclidean"
            ),
            {}, FloatingPointError, "contradict each other",
        ),
    ],
)  # fmt: skip
def test_constraints_that_cannot_be_met_are_told(constraint, options, error, message):
    options = {"solver": diffusion.DDIM(), "times": 4, **OPTIONS, "n": 3, **options}
    with pytest.raises(error, match=message):
        diffusion.sample(denoise, constraint=constraint, **options)
