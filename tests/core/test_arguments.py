"""Arguments of public functions: what counts as a number, and what is said about the rest."""

import jax.numpy as jnp
import numpy as np
import pytest

from surrogax.core.arguments import checked, count, number


@checked
def scaled(rate: float, steps: int = 1) -> float:
    return float(rate) * steps


@pytest.mark.parametrize(
    "rate", [0.5, np.float32(0.5), np.array(0.5), jnp.asarray(0.5), jnp.asarray(0.5, jnp.bfloat16), jnp.float16(0.5)]
)
def test_scalars_of_every_precision_are_numbers(rate):
    assert scaled(rate, steps=np.int64(2)) == 1.0
    assert number("scaled", "rate", rate, above=0) == 0.5


@pytest.mark.parametrize("rate", [True, 1j, "0.5", None, np.ones(1), jnp.asarray(1j), float])
def test_what_is_no_number_is_named(rate):
    with pytest.raises(TypeError, match=r"scaled\(rate=…\) is .*; expected a number"):
        scaled(rate)
    with pytest.raises(TypeError, match=r"scaled\(rate=.*\): expected a number"):
        number("scaled", "rate", rate)


def test_names_and_ranges():
    with pytest.raises(
        TypeError, match=r"scaled: got an unexpected keyword argument 'step'; the arguments are rate, steps"
    ):
        scaled(1.0, step=2)
    with pytest.raises(ValueError, match=r"scaled\(steps=0\): expected 1 or more"):
        count("scaled", "steps", 0)
    with pytest.raises(ValueError, match=r"expected a finite number above 0 and below 1"):
        number("scaled", "rate", float("nan"), above=0, below=1)
