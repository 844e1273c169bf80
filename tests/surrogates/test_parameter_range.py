"""The range of training parameters: one sample and many, trees, the margin, constant parameters, traced values."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.storage import load, save
from surrogax.surrogates.parameter_range import ParameterRange

TRAIN = {"a": np.linspace(0.0, 2.0, 21), "k": np.stack([np.linspace(-1, 1, 21), np.full(21, 5.0)], 1)}
RANGE = ParameterRange.of(TRAIN)


def warned(parameters) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        RANGE.warn_outside(parameters, "mind it")
    return [str(w.message) for w in found]


def test_it_holds_the_ends():
    np.testing.assert_array_equal(RANGE.lower["k"], [-1, 5])
    np.testing.assert_array_equal(RANGE.upper["a"], 2)


@pytest.mark.parametrize(
    "a, k, message",
    [
        (1.0, (0.0, 5.0), None),
        (2.09, (0.0, 5.0), None),  # less than 5 % outside
        (2.11, (0.0, 5.0), "a = 2.11 is outside the training range [0.0, 2.0]; mind it"),
        (-0.2, (0.0, 5.0), "a = -0.2 is outside"),
        (1.0, (0.0, float(np.float32(5.000001))), None),  # rounding of a constant parameter
        (1.0, (0.0, 5.1), "k = [0.  5.1] is outside the training range"),
    ],
)
def test_one_sample(a, k, message):
    found = warned({"a": np.float64(a), "k": np.array(k)})
    assert (not found) if message is None else (len(found) == 1 and message in found[0])


def test_many_samples_are_counted():
    (found,) = warned({"a": np.array([0.0, 3.0, 1.0, 4.0]), "k": np.tile([0.0, 5.0], (4, 1))})
    assert found.startswith("2 of 4 samples have a outside the training range [0.0, 2.0]")
    (found,) = warned({"a": np.ones(3), "k": np.array([[0.0, 5], [9, 6], [0, 5]])})
    assert found.startswith("1 of 3 samples have k outside")


def test_a_number_without_a_name():
    with pytest.warns(UserWarning, match=r"the parameter = 9.0 is outside the training range \[0.0, 1.0\]; mind it"):
        ParameterRange.of(np.linspace(0, 1, 5)).warn_outside(9.0, "mind it")


def test_traced_values_cannot_be_compared(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(lambda p: RANGE.warn_outside(p, "mind it"))({"a": jnp.float32(9), "k": jnp.zeros(2)})
    save(tmp_path / "range", RANGE)
    np.testing.assert_array_equal(load(tmp_path / "range").lower["k"], [-1, 5])
