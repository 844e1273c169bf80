"""Posteriors of fields beside exact ones: a joint Gaussian of two fields, seen at sensors of one of them."""

import jax.numpy as jnp
import numpy as np
import pytest

import surrogax as sx
from surrogax.solvers import diffusion as sd

GRID = sx.Grid.unit(16, 1, "periodic")
N = 16
AT = np.array([[0.0], [0.25], [0.5], [0.78125]])  # the last in the middle between two points
STD = 0.3


def _covariance():
    """Of (a, u) `(2N, 2N)`: u is a smoothed a, in other units and about a mean of 5."""
    k = np.fft.fftfreq(N, 1 / N)
    wave = np.exp(2j * np.pi * np.outer(np.arange(N), k) / N) / np.sqrt(N)
    a = wave * np.sqrt(20 / (1 + k**2))
    u = 3 * a / (1 + 0.3 * k**2)
    both = np.concatenate([a, u])
    return (both @ both.conj().T).real + 1e-4 * np.eye(2 * N)


C = _covariance()
MEAN = np.concatenate([np.zeros(N), np.full(N, 5.0)])


def draws(count, seed):
    values = MEAN + np.random.default_rng(seed).normal(size=(count, 2 * N)) @ np.linalg.cholesky(C).T
    return sx.from_arrays(targets={"a": values[:, :N], "u": values[:, N:]}, grid=GRID)


@pytest.fixture(scope="module")
def prior():
    task = sx.Task.fit(draws(400, 0), targets=("a", "u"))
    mean, std = (
        np.concatenate([np.full(N, float(getattr(task.normalizers[n], w)[0])) for n in ("a", "u")])
        for w in ("mean", "std")
    )
    variances, modes = np.linalg.eigh(C / np.outer(std, std))
    centre = (MEAN - mean) / std

    def denoise(x, sigma, condition):
        # Normalised samples have the axes (x, field).
        v = jnp.asarray(modes, x.dtype)
        z = v.T @ (x.T.ravel() - centre.astype(x.dtype))
        c = jnp.asarray(variances, x.dtype)
        return (centre.astype(x.dtype) + v @ (c / (c + sigma**2) * z)).reshape(2, N).T

    return sx.Prior(task, denoise)


def sensors():
    """The rows of u at the sensors, `(4, 2N)`."""
    h = np.zeros((4, 2 * N))
    for row, (x,) in enumerate(AT):
        place = x * N
        left = int(np.floor(place))
        h[row, N + left % N] += 1 - (place - left)
        h[row, N + (left + 1) % N] += place - left
    return h


def exact(h, y, r):
    gain = C @ h.T @ np.linalg.inv(h @ C @ h.T + r)
    covariance = C - gain @ h @ C
    return MEAN + gain @ (y - h @ MEAN), np.sqrt(np.diag(covariance))


def check(post, mean, std, slack=0.05):
    n = len(post)
    for name, part in (("a", slice(None, N)), ("u", slice(N, None))):
        off = (np.asarray(post.mean[name]) - mean[part]) / std[part]
        assert abs(off).max() < 5 / np.sqrt(n) + slack, (name, off)
        ratio = np.asarray(post.std[name]) / std[part]
        assert abs(ratio - 1).max() < 5 / np.sqrt(2 * n) + slack, (name, ratio)


def test_the_posterior_of_both_fields_given_sensors_of_one(prior, key):
    y = sensors() @ np.asarray(MEAN) + np.array([2.0, -1.0, 0.5, 1.0])
    post = prior.posterior(sx.Observe("u", at=AT, values=y, std=STD), n=1000, key=key)
    check(post, *exact(sensors(), y, STD**2 * np.eye(4)))
    assert post.samples["a"].shape == (1000, N) and post.grid == GRID and "1000 samples" in repr(post)
    assert 0.1 < float(post.misfit.mean()) < 2
    np.testing.assert_allclose(post.quantile(0.5)["a"], np.median(post.samples["a"], 0), atol=1e-5)


@pytest.mark.nightly
def test_several_observations_operators_and_missing_values(prior, key):
    """Sensors with a missing value, the whole of a with large errors, and an integral of u, together."""
    y = sensors() @ np.asarray(MEAN) + 1.0
    y[1] = np.nan
    seen = np.isfinite(y)
    whole = np.random.default_rng(3).normal(size=N)
    post = prior.posterior(
        [
            sx.Observe("u", at=AT, values=y, std=STD, mask=seen),
            sx.Observe("a", values=whole, std=4.0),
            sx.Observe(operator=lambda fields: fields["u"].mean(), values=6.0, std=0.1),
        ],
        n=1000, key=key,
    )  # fmt: skip
    h = np.concatenate([sensors()[seen], np.eye(2 * N)[:N], np.r_[np.zeros(N), np.full(N, 1 / N)][None]])
    values = np.concatenate([y[seen], whole, [6.0]])
    check(post, *exact(h, values, np.diag(np.r_[np.full(3, STD**2), np.full(N, 16.0), 0.01])))


@pytest.mark.nightly
def test_events_and_constraints_on_named_fields(prior, key):
    event = prior.posterior(sd.Event(lambda fields: fields["u"].mean() - 8.0), n=200, key=key)
    assert (np.asarray(event.samples["u"]).mean(1) > 8.0).mean() > 0.9 and event.misfit is None
    y = sensors() @ np.asarray(MEAN)
    held = sd.Constraint(sd.Equation(lambda fields: fields["u"].mean() - 5.5))
    post = prior.posterior(sx.Observe("u", at=AT, values=y, std=STD), n=64, key=key, constraint=held)
    np.testing.assert_allclose(np.asarray(post.samples["u"]).mean(1), 5.5, atol=1e-3)


@pytest.mark.nightly
def test_a_prior_conditioned_on_sensors_is_a_calibrated_surrogate(prior, key):
    test = draws(24, 7)
    surrogate = prior.conditioned(sx.Observe("u", at=AT, std=STD), n=16, key=key)
    assert surrogate.task.inputs == ("u",) and surrogate.capabilities.has_samples
    metrics = ("rel_l2", "crps", "coverage_90", "band_90", "data_misfit", "spread", "rmse")
    table = sx.evaluate(
        {"EDM": surrogate, "mean": sx.MeanField(prior.task)}, test, metrics=metrics, timing=False, samples=20
    )
    assert table.value("EDM", metric="rel_l2", field="a") < 0.9 * table.value("mean", metric="rel_l2", field="a")
    for field in ("a", "u"):
        assert 0.8 < table.value("EDM", metric="coverage_90", field=field) <= 1
    # E|R^(−½)(y − H x)|²/m of draws is 1 + tr(posterior) − tr(gain)/m …, below 2.
    assert 0.5 < table.value("EDM", metric="data_misfit") < 2
    assert any("data_misfit" in text and "mean" in text for text in table.missing)
    one = surrogate.predict_samples(test[:2], 3, key=key)
    np.testing.assert_allclose(
        one["a"][1], surrogate.predict_samples(test[:2], 3, key=key, batch_size=1)["a"][1], atol=1e-3
    )


@pytest.mark.nightly
def test_the_conditioned_prior_passes_the_contract(prior):
    sx.check_surrogate(prior.conditioned(sx.Observe("u", at=AT, std=STD), n=4, steps=6))


@pytest.mark.nightly
def test_wrong_observations_of_fields_say_what_is_wrong(prior, key):
    def run(**options):
        field = options.pop("field", "u")
        return prior.posterior(
            sx.Observe(field, **{"at": AT, "values": np.zeros(4), "std": 1.0} | options), n=2, steps=3, key=key
        )

    for options, words in [
        ({"field": "v"}, r"the fields of this prior are \['a', 'u'\]"),
        ({"at": np.zeros((4, 2))}, "coordinates"),
        ({"values": np.zeros(3)}, "the values have"),
        ({"values": np.full(4, np.nan)}, "mask"),
        ({"std": 0.0}, "constraint"),
        ({"values": None}, "nothing to condition on"),
        ({"operator": lambda fields: fields["u"]}, "one of them"),
        ({"std": None}, "std="),
    ]:
        with pytest.raises(ValueError, match=words):
            run(**options)
    nodes = sx.Task.fit(
        sx.from_arrays(targets={"u": np.random.default_rng(0).normal(size=(5, 9))}, grid=sx.Grid.unit_interval(9)),
        targets="u",
    )
    with pytest.raises(ValueError, match="outside"):
        sx.Prior(nodes, lambda x, s, c: 0 * x).posterior(
            sx.Observe("u", at=[[1.5]], values=[0.0], std=1.0), n=2, key=key
        )
    with pytest.raises(TypeError, match="Observe"):
        prior.posterior([np.zeros(3)], n=2, key=key)
    with pytest.raises(ValueError, match="leave values"):
        prior.conditioned(sx.Observe("u", at=AT, values=np.zeros(4), std=1.0))
    with pytest.warns(UserWarning, match="miss the observations by"):
        run(values=np.full(4, 1e4), std=1e-3)
