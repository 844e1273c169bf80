"""Smoothing by optimised fourth-kind Chebyshev polynomials, which need the upper end of the spectrum alone (Lottes 2023)."""

from collections.abc import Callable

from jaxtyping import Array, Float

# β of the polynomials of degree 1, 2, 3 (table 1).
_BETA = (
    (1.12500000000000,),
    (1.02387287570313, 1.26408905371085),
    (1.00842544782028, 1.08867839208730, 1.33753125909618),
)


def smooth(
    product: Callable[[Float[Array, "*n"]], Float[Array, "*n"]],
    scaling: Float[Array, "*n"] | float,
    r: Float[Array, "*n"],
    degree: int,
) -> Float[Array, "*n"]:
    """p(S A) S r for the product with A and a diagonal `scaling` S such that the spectrum of S A ends at 1 (algorithm 2).

    **Arguments:** `degree`: 1, 2 or 3, products with A plus one.
    """
    beta = _BETA[degree - 1]
    z = 4 / 3 * scaling * r
    x = beta[0] * z
    for k in range(2, degree + 1):
        r = r - product(z)
        z = (2 * k - 3) / (2 * k + 1) * z + (8 * k - 4) / (2 * k + 1) * scaling * r
        x = x + beta[k - 1] * z
    return x
