"""Σ_m β_m A_m of what somebody's code assembled: arrays, scipy sparse matrices, or operators."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import numpy as np
import scipy.sparse
from jaxtyping import Array, Inexact

from .eim import current


class AbstractTerms(eqx.Module):
    """The A_m, all of one kind, as `values`."""

    values: eqx.AbstractVar[tuple]

    @abc.abstractmethod
    def combined(self, beta: Inexact[Array, " d"]):
        """Σ_m β_m A_m."""


class ArrayTerms(AbstractTerms):
    """Dense matrices, vectors or numbers; their sum is an array and can be traced."""

    values: tuple

    def combined(self, beta):
        return jnp.tensordot(beta, jnp.stack([current(np.asarray(a)) for a in self.values]), 1, precision="highest")


class SparseTerms(AbstractTerms):
    """scipy sparse matrices; their sum is one, made on the host."""

    values: tuple

    def combined(self, beta):
        return sum(b * a for b, a in zip(np.asarray(beta), self.values, strict=True))


class OperatorTerms(AbstractTerms):
    """Lineax operators, or functions v ↦ A v; their sum is a function."""

    values: tuple

    def combined(self, beta) -> Callable:
        products = [a.mv if isinstance(a, lx.AbstractLinearOperator) else a for a in self.values]
        return lambda v: sum(b * product(v) for b, product in zip(beta, products, strict=True))


def assembled_terms(values: tuple) -> AbstractTerms:
    """The terms of the kind of the first value."""
    if scipy.sparse.issparse(values[0]):
        return SparseTerms(values)
    if isinstance(values[0], lx.AbstractLinearOperator) or callable(values[0]):
        return OperatorTerms(values)
    return ArrayTerms(values)
