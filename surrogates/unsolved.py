"""What is said of samples that a solver did not solve, inside compiled programs too."""

import warnings

import jax
import numpy as np
from jaxtyping import Array, Int

from ..solvers.linear.linear_solve import status_message
from ..solvers.linear.solution import Status


def warn_of_unsolved(name: str, status: Int[Array, " n"], numbers: Int[Array | np.ndarray, " n"]) -> None:
    """One warning that names the samples whose `status` is not converged."""

    def report(status, numbers):
        if sentence := _unsolved(status, numbers):
            warnings.warn(f"{name}: {sentence}", stacklevel=2)

    jax.debug.callback(report, status, numbers)


def raise_if_unsolved(name: str, status: Int[Array, " n"], numbers: Int[Array | np.ndarray, " n"]) -> None:
    """`RuntimeError`, which JAX wraps in one of its own, that names the samples whose `status` is not converged."""

    def report(status, numbers):
        if sentence := _unsolved(status, numbers):
            raise RuntimeError(f"{name}: {sentence}")

    jax.debug.callback(report, status, numbers)


def _unsolved(status, numbers) -> str:
    """A sentence, empty if all is well."""
    status, numbers = np.ravel(status), np.ravel(numbers)
    failed = status != Status.converged
    if not failed.any():
        return ""
    found = sorted(set(numbers[failed].tolist()))
    named = ", ".join(map(str, found[:10])) + (", …" if len(found) > 10 else "")
    plural = "s" if len(found) > 1 else ""
    return f"the solver did not converge for {len(found)} sample{plural} ({named}); {status_message(status[failed][0])}"
