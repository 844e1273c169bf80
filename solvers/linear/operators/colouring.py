"""The colours of a `Sparse` operator, found on the host before anything is compiled."""

from typing import NamedTuple

import numpy as np
from jax.core import Tracer

from ...kernels import multicolour
from ...kernels.multicolour import ColouredMatrix, ColourPattern
from .field_operator import untagged
from .sparse import Sparse

# Every colour is a step of its own in the compiled sweep.
_MOST = 100


class Colouring(NamedTuple):
    """The colour pattern of A and, unless A is symmetric, that of Aᵀ."""

    pattern: ColourPattern
    transposed: ColourPattern | None


def colouring(operator: Sparse, user: str) -> Colouring:
    """Host code. Raises `TypeError` naming the `user` for a traced pattern, `ValueError` for more than 100 colours."""
    if isinstance(operator.rows, Tracer) or isinstance(operator.cols, Tracer):
        raise TypeError(
            f"{user}: the pattern of the Sparse operator is traced; close over the operator and pass the values alone through "
            "jit, operator.with_values(values)"
        )
    rows, cols, n = np.asarray(operator.rows), np.asarray(operator.cols), operator.in_structure().size
    pattern = multicolour.colour_pattern(rows, cols, n)
    if len(pattern.ends) > _MOST:
        raise ValueError(
            f"{user}: the matrix needs {len(pattern.ends)} colours, steps one after the other, and at most {_MOST} are allowed; "
            "use Jacobi() or SmoothedAggregation() in a Krylov method"
        )
    return Colouring(pattern, None if operator.symmetric else multicolour.colour_pattern(cols, rows, n))


def colours_of(operator, user: str) -> Colouring | None:
    """The colouring of a `Sparse` operator, None for operators on grids. Host code, errors as those of `colouring`."""
    operator = untagged(operator)
    return colouring(operator, user) if isinstance(operator, Sparse) else None


def coloured(operator, known: Colouring | None, user: str, transpose: bool = False) -> ColouredMatrix:
    """A `Sparse` operator sorted by colour, with the colouring that was `known` before compilation or is found now.

    `transpose`: the operator is Aᵀ where the colouring was made for A.
    """
    operator = untagged(operator)
    found = colouring(operator, user) if known is None else known
    turned = transpose and known is not None and found.transposed is not None
    return multicolour.coloured(found.transposed if turned else found.pattern, operator.values)
