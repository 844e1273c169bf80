"""`Sparse` operators sorted by colour."""

import functools

from ...kernels import multicolour
from ...kernels.multicolour import ColouredMatrix, ColourPattern
from .sparse import Places, Sparse

# Every colour is a step of its own in the compiled sweep.
_MOST = 100


def coloured(operator: Sparse, user: str) -> ColouredMatrix:
    """D, L and U in the order of the colours. Raises `ValueError` naming the `user` for more than 100."""
    pattern = _pattern(operator.places, operator.in_structure().size)
    if len(pattern.ends) > _MOST:
        raise ValueError(
            f"{user}: the matrix needs {len(pattern.ends)} colours, steps one after the other, and at most {_MOST} are allowed; "
            "use Jacobi() or SmoothedAggregation() in a Krylov method"
        )
    return multicolour.coloured(pattern, operator.values)


@functools.lru_cache(maxsize=8)
def _pattern(places: Places, n: int) -> ColourPattern:
    return multicolour.colour_pattern(places.rows, places.cols, n)
