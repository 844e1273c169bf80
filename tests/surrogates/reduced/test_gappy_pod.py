"""Gappy POD: reconstruction, the bound of its error, the choice of points, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.precision import in_double
from surrogax.surrogates.reduced.interpolation.gappy_pod import gappy_pod

MODES = np.linalg.qr(np.cos(np.arange(1, 7) * np.linspace(0, 3, 300)[:, None] + 0.3))[0]


def test_gappy_pod_reconstructs_and_bounds_its_error():
    c = np.arange(1.0, 7.0)
    noise = 1e-3 * np.random.default_rng(0).normal(size=300)
    amplifications = []
    for count in (6, 12, 24):
        gappy = gappy_pod(MODES, count=count)
        assert len(set(gappy.points.tolist())) == count
        np.testing.assert_allclose(in_double(gappy)((MODES @ c)[gappy.points]), MODES @ c, atol=1e-10)
        error = in_double(gappy.coefficients)(noise[gappy.points])
        assert np.linalg.norm(error) <= gappy.amplification * np.linalg.norm(noise[gappy.points])
        amplifications.append(gappy.amplification)
    assert amplifications[0] > 1.3 * amplifications[1] > 1.5 * amplifications[2]
    random = [gappy_pod(MODES, np.random.default_rng(s).choice(300, 12, replace=False)).amplification for s in range(9)]
    assert amplifications[1] < np.median(random)
    slope = jax.grad(lambda t: gappy(t * jnp.ones(24)).sum())(2.0)
    assert slope == pytest.approx(float(gappy(jnp.ones(24)).sum()), rel=1e-4)


def test_gappy_pod_bad_input():
    for arguments, options, message in [
        ((MODES, np.arange(5)), {}, "5 points do not determine 6"),
        ((MODES, np.zeros(8, int)), {}, "8 points do not determine 6"),
        ((MODES,), {"count": 4}, "count must be between"),
        ((MODES,), {}, "either points or count"),
        ((np.where(MODES > 0.1, np.nan, MODES), np.arange(9)), {}, "gappy_pod: the functions hold NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            gappy_pod(*arguments, **options)
