"""Sums of Gaussians and their partial derivatives in closed form."""

import itertools
from math import comb, factorial

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Derivatives = dict[tuple[int, ...], Array]  # by how often each coordinate is differentiated


def gaussian_sums(
    orders: tuple[int, ...],
    point: Float[Array, " d"],
    centres: Float[Array, "*k n d"],
    widths: Float[Array, "*k n d"],
    amplitudes: Float[Array, "*k n"],
    periodic: tuple[bool, ...],
) -> Derivatives:
    """Σ_j w_j exp(−Σ_i q_ij(x_i)) and its derivatives of all orders up to `orders`, `(*k)` each.

    q = ½ ((x − μ)/σ)². Along `periodic` coordinates, of period 2, q = (1 − cos π(x − μ)) / (π σ)², which is the same near μ. A
    derivative is the Gaussian times one polynomial per coordinate, h_0 = 1, h_{n+1} = −Σ_k C(n, k) q^{(k+1)} h_{n−k}: the
    exponentials are computed once. Coordinates beyond the length of `orders` are not differentiated.
    """
    orders = (*orders, *(0,) * (len(periodic) - len(orders)))
    difference, inverse = point - centres, 1 / widths**2
    exponent, polynomials = jnp.zeros(()), []
    for i, (order, wraps) in enumerate(zip(orders, periodic, strict=True)):
        x, s = difference[..., i], inverse[..., i]
        if wraps:
            cos, sin = jnp.cos(np.pi * x), jnp.sin(np.pi * x)
            exponent = exponent - s * (1 - cos) / np.pi**2
            cycle = (sin, cos, -sin, -cos)
            slopes = [s * np.pi ** (k - 1) * cycle[k % 4] for k in range(order)]
        else:
            exponent = exponent - 0.5 * s * x**2
            slopes = [s * x, s, *[jnp.zeros(())] * order][:order]
        h = [jnp.ones(())]
        for n in range(order):
            terms = [comb(n, k) * slopes[k] * h[n - k] for k in range(n + 1)]
            h.append(-sum(terms[1:], terms[0]))
        polynomials.append(h)
    weighted = amplitudes * jnp.exp(exponent)
    found = {}
    for which in itertools.product(*(range(order + 1) for order in orders)):
        product = weighted
        for h, n in zip(polynomials, which, strict=True):
            product = product * h[n] if n else product
        found[which] = product.sum(-1)
    return found


def full_gaussian_sums(
    orders: tuple[int, ...],
    point: Float[Array, " d"],
    centres: Float[Array, "*k n d"],
    matrices: Float[Array, "*k n d d"],
    amplitudes: Float[Array, "*k n"],
) -> Derivatives:
    """Σ_j w_j exp(−½ ‖A_j (x − μ_j)‖²) and its derivatives of all orders up to `orders`, `(*k)` each, with `matrices` A.

    With P = AᵀA the derivatives of one Gaussian g follow from D^{α + e_i} g = −Σ_j P_ij ((x − μ)_j D^α g + α_j D^{α − e_j} g).
    Coordinates beyond the length of `orders` are not differentiated.
    """
    d = centres.shape[-1]
    orders = (*orders, *(0,) * (d - len(orders)))
    difference = point - centres
    stretched = jnp.einsum("...ij,...j->...i", matrices, difference)
    precision = jnp.einsum("...ki,...kj->...ij", matrices, matrices)
    slope = jnp.einsum("...ij,...j->...i", precision, difference)
    found = {(0,) * d: amplitudes * jnp.exp(-0.5 * (stretched**2).sum(-1))}
    for which in itertools.product(*(range(order + 1) for order in orders)):
        if which in found:
            continue
        i = next(k for k, n in enumerate(which) if n)
        before = tuple(n - (k == i) for k, n in enumerate(which))
        value = -slope[..., i] * found[before]
        for j, n in enumerate(before):
            if n:
                lower = tuple(m - (k == j) for k, m in enumerate(before))
                value = value - n * precision[..., i, j] * found[lower]
        found[which] = value
    return {which: value.sum(-1) for which, value in found.items()}


def taylor(derivatives: Derivatives, move: Float[Array, " d"]) -> Array:
    """The Taylor polynomial Σ_α D^α m^α / α! of a displacement m with these derivatives."""
    total = jnp.zeros(())
    for orders, value in derivatives.items():
        power = jnp.ones((), move.dtype)
        for i, n in enumerate(orders):
            power = power * move[i] ** n / factorial(n) if n else power
        total = total + value * power
    return total
