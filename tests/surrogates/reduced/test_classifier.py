"""Classifiers of local bases: the bar on moving Gaussians, targets from errors, gradients, files, bad input."""

import functools

import jax
import numpy as np
import pytest

from surrogax.core.storage import load, save
from surrogax.surrogates.reduced.local.classifier import fit_classifier
from surrogax.surrogates.reduced.local.local_bases import local_bases


def moving_gaussians(seed: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Snapshots and (c, w, log a, sign)."""
    rng, x = np.random.default_rng(seed), np.linspace(0, 1, 512)
    c, w = rng.uniform(0.1, 0.9, (n, 1)), rng.uniform(0.04, 0.08, (n, 1))
    a, sign = 10 ** rng.uniform(-1, 1, (n, 1)), rng.choice([-1.0, 1.0], (n, 1))
    return sign * a * np.exp(-((x - c) ** 2) / (2 * w**2)), np.concatenate([c, w, np.log(a), sign], 1)


@functools.cache
def setting(k: int, rank: int):
    """Local bases of seed 0, their errors there and on seed 1, and the parameters of both."""
    (train, z), (unseen, z_unseen) = moving_gaussians(0), moving_gaussians(1)
    bases = local_bases(train, k, rank)
    return bases.labels, bases.projection_errors(train), bases.projection_errors(unseen), z, z_unseen


@pytest.mark.parametrize("kind", [pytest.param("network", marks=pytest.mark.nightly), "nearest", "logistic"])
@pytest.mark.parametrize("k, rank, oracle", [(5, 3, 0.0886), pytest.param(10, 8, 0.00094, marks=pytest.mark.nightly)])
def test_unseen_gaussians_by_their_parameters(kind, k, rank, oracle):
    """At most 1.5 times what assignment by the solution itself reaches; linear logits are too poor for many clusters."""
    labels, errors, unseen, z, z_unseen = setting(k, rank)
    top, shares = jax.jit(jax.vmap(fit_classifier(kind, z, labels, k=k, errors=errors).top))(z_unseen)
    one, two = unseen[np.arange(500), top[:, 0]], unseen[np.arange(500), top[:, 1]]
    bar = 4 if (kind, k) == ("logistic", 10) else 1.15
    assert one.mean() < bar * oracle
    assert np.minimum(one, two).mean() <= 1.02 * oracle
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-5)
    assert np.all(shares[:, 0] >= shares[:, 1])


@pytest.mark.nightly
def test_without_errors_it_learns_the_labels():
    labels, _, unseen, z, z_unseen = setting(5, 3)
    classify = fit_classifier("network", z, labels, k=5)
    chosen = np.asarray(jax.vmap(classify)(z_unseen)).argmax(1)
    assert np.mean(np.asarray(jax.vmap(classify)(z)).argmax(1) == labels) > 0.97
    assert unseen[np.arange(500), chosen].mean() < 1.25 * 0.0886


def separable(n: int = 80):
    """Three clusters along the first of three features; the others are noise, the last one constant."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(0, 3, (n, 1)), 50 * rng.standard_normal((n, 1)), np.ones((n, 1))], 1)
    return z, z[:, 0].astype(int)


@pytest.mark.quick("logistic")
@pytest.mark.parametrize("kind", ["network", "logistic", "nearest"])
def test_probabilities_gradients_and_files(kind, tmp_path, key):
    z, labels = separable()
    classify = fit_classifier(kind, z, labels, k=3, key=key)
    p = jax.jit(jax.vmap(classify))(z)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.mean(np.asarray(p).argmax(1) == labels) > 0.93
    if kind != "nearest":
        at, step = z[3].astype(np.float32), np.array([1e-2, 0, 0], np.float32)
        slope = (classify(at + step) - classify(at - step)) / 2e-2
        np.testing.assert_allclose(jax.jacobian(classify)(at)[:, 0], slope, atol=2e-3 * np.abs(slope).max() + 1e-4)
    save(tmp_path / "classifier", classify)
    np.testing.assert_array_equal(jax.vmap(load(tmp_path / "classifier"))(z), jax.vmap(classify)(z))


def test_a_cheap_confusion_is_no_mistake():
    """Bases 0 and 1 serve everything alike, so that the shares are even; basis 2 is far off."""
    z, labels = separable()
    errors = np.stack([np.full(80, 0.1), np.full(80, 0.1), np.full(80, 1.0)], 1)
    p = jax.vmap(fit_classifier("nearest", z, labels, k=3, errors=errors))(z)
    np.testing.assert_allclose(p, np.tile(np.array([1, 1, 0.01]) / 2.01, (80, 1)), rtol=1e-4)
    p = jax.vmap(fit_classifier("network", z, labels, k=3, errors=errors))(z)
    np.testing.assert_allclose(p, np.tile(np.array([1, 1, 0.01]) / 2.01, (80, 1)), atol=0.02)


def test_units_offsets_and_decades_do_not_matter():
    z, labels = separable()
    plain = fit_classifier("logistic", z, labels, k=3)
    moved = fit_classifier("logistic", z * [1, 1e6, 1] + [1.7e9, 0, 0], labels, k=3)
    np.testing.assert_allclose(moved(z * [1, 1e6, 1] + [1.7e9, 0, 0]), plain(z), atol=1e-4)
    decades = fit_classifier("logistic", 10 ** (2 * z[:, :1] - 3), labels, k=3)
    assert decades.scaling.logarithmic == (True,)
    np.testing.assert_allclose(decades(10 ** (2 * z[:, :1] - 3)).sum(1), 1, rtol=1e-5)


def test_top_of_a_single_basis():
    z, labels = separable()
    chosen, shares = fit_classifier("nearest", z, 0 * labels, k=1).top(z[0])
    assert chosen.tolist() == [0] and shares.tolist() == [1]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "tree"}, "tree"),
        ({"z": np.full((80, 1), np.nan)}, "NaN"),
        ({"k": 2}, "0 … 2 for k=2"),
        ({"errors": np.ones((80, 4))}, r"\(80, 4\)"),
        ({"errors": np.full((80, 3), np.nan)}, "errors of sample 0 hold NaN"),
    ],
)
def test_bad_input(change, message):
    z, labels = separable()
    arguments = {"kind": "nearest", "z": z, "labels": labels, "k": 3} | change
    with pytest.raises(ValueError, match=message):
        fit_classifier(arguments.pop("kind"), arguments.pop("z"), arguments.pop("labels"), **arguments)
