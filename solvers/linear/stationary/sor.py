"""Successive over-relaxation and Gauss-Seidel iteration."""

import dataclasses
from typing import ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, ScalarLike, Shaped

from ...kernels import red_black
from ...kernels import triangular_wavefront as wavefront
from ..method import AbstractMethod
from ..operators.laplacian import as_diffusion
from ..solution import Stats
from .richardson import check_omega, check_steps, iterate


class SOR(AbstractMethod):
    """Successive over-relaxation x_i ← x_i + ω (b − A x)_i / a_ii, point after point.

    With β = ρ(I − D⁻¹ A) the residual falls by `sor_radius(omega, beta)` per iteration in the long run. The best ω,
    `optimal_omega(beta)`, brings a Poisson problem with n points per side from O(n²) iterations at ω = 1 to O(n)
    (Young 1954).

    **Arguments:**

    - `omega`: relaxation factor in (0, 2), 1 is Gauss-Seidel. It may be traced, so one compiled solve serves every value.
    - `rtol`, `atol`: stop at ‖b − A x‖₂ ≤ max(rtol ‖b‖₂, atol), tested on the true residual after every iteration. Good values
      of rtol: 1e-5 in float32, 1e-10 in float64.
    - `max_steps`: limit on iterations.
    - `history`: record ‖b − A x‖₂ per iteration.
    - `order`: "red_black" sweeps over the points with an even, then with an odd sum of indices, all of a colour at once, for
      the price of one product with A. "natural" goes from the first point to the last, front by front (2n − 1 sequential
      steps on n² points, two products with A): for comparison with the literature. Both have the same spectral radius and
      nearly the same number of iterations (10² points: 192 and 189 at ω = 1, 37 and 41 at 1.6, 178 and 177 at 1.9).

    For `Diffusion` and `Laplacian` operators, obstacles and jumps included; for symmetric positive definite ones it converges.
    Raises `TypeError` for other operators, `ValueError` for `omega` outside (0, 2) unless it is traced, for periodic axes
    with an odd number of points, which cannot be coloured, and for any periodic axis in natural order. Divergence ends as
    `non_finite` or `max_steps`.
    """

    omega: ScalarLike = 1.5
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    order: Literal["red_black", "natural"] = eqx.field(static=True, default="red_black")
    packed: red_black.RedBlackOperator | wavefront.WavefrontOperator | None = None
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        check_steps(self)
        check_omega(self)
        if self.order not in _KERNELS:
            raise ValueError(f"SOR: unknown order {self.order!r}; use 'red_black' or 'natural'")

    def bind(self, operator) -> "SOR":
        return _packed(self, operator, _KERNELS[self.order])

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the ‖b − A x‖₂ to reach instead of max(rtol ‖b‖₂, atol)."""
        run = _red_black_order if self.order == "red_black" else _natural_order
        return run(self.bind(operator), self.omega, operator, b, x0, tolerance)


class GaussSeidel(AbstractMethod):
    """Gauss-Seidel iteration in red-black order: `SOR` with ω = 1. The residual falls by ρ(I − D⁻¹ A)² per iteration.

    Arguments, supported operators and errors are those of `SOR`.
    """

    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    packed: red_black.RedBlackOperator | None = None
    needs_symmetric: ClassVar[bool] = True

    def __check_init__(self):
        check_steps(self)

    def bind(self, operator) -> "GaussSeidel":
        return _packed(self, operator, red_black)

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""] | None = None
    ) -> tuple[Float[Array, "..."], Stats]:
        """x and its `Stats`. `tolerance`, if given, is the ‖b − A x‖₂ to reach instead of max(rtol ‖b‖₂, atol)."""
        return _red_black_order(self.bind(operator), 1.0, operator, b, x0, tolerance)


def optimal_omega(beta: ScalarLike) -> Float[Array, ""]:
    """ω* = 1 + (β / (1 + √(1 − β²)))², the ω with the smallest `sor_radius` (Young 1954).

    **Arguments:** `beta`: ρ(I − D⁻¹ A) in [0, 1), for example cos(π/(n + 1)) for the Laplacian on n² interior nodes.
    """
    beta = jnp.asarray(beta)
    return 1 + (beta / (1 + jnp.sqrt(1 - jnp.square(beta)))) ** 2


def sor_radius(omega: Shaped[ArrayLike, "..."], beta: ScalarLike) -> Float[Array, "..."]:
    """Spectral radius of the SOR iteration, the factor by which the residual falls per iteration in the long run.

    ((ω β + √(ω² β² − 4 (ω − 1))) / 2)² for ω < ω* and ω − 1 above, for symmetric positive definite operators that are
    consistently ordered, as 5- and 7-point stencils are in red-black and in natural order (Young 1954).
    """
    omega = jnp.asarray(omega)
    root = jnp.square(omega * beta) - 4 * (omega - 1)
    below = (omega * beta + jnp.sqrt(jnp.where(root > 0, root, 1))) ** 2 / 4
    return jnp.where(root > 0, below, omega - 1)


def _packed(method, operator, kernel):
    if method.packed is not None:
        return method
    operator = as_diffusion(operator, type(method).__name__)
    packed = kernel.pack(operator.faces, operator.spacing, operator.boundaries, operator.shift)
    return dataclasses.replace(method, packed=packed)


def _red_black_order(method, omega, operator, b, x0, tolerance):
    packed, halves = method.packed, red_black.split(b)
    omega = jnp.asarray(omega, b.dtype)

    def step(state, _):
        x, r_red, square = red_black.sor_sweep(packed, state[0], halves, state[1], omega)
        return (x, r_red), jnp.sqrt(square)

    def solution(state):
        red, black = state[0]
        return red_black.merge(red, black, b.shape)

    x = red_black.split(x0)
    start = (x, red_black.residual_red(packed, *x, halves[0]))
    return iterate(method, operator, b, start, step, solution, tolerance, _window(omega))


def _natural_order(method, omega, operator, b, x0, tolerance):
    packed = method.packed
    fronts = packed.skew(b)
    omega = jnp.asarray(omega, b.dtype)

    def step(state, _):
        x, r = state
        x = x + omega * wavefront.solve_lower(packed, r, omega)
        r = fronts - wavefront.apply(packed, x)
        return (x, r), method.measure(r)

    x = packed.skew(x0)
    start = (x, fronts - wavefront.apply(packed, x))
    return iterate(method, operator, b, start, step, lambda state: packed.unskew(state[0]), tolerance, _window(omega))


def _window(omega):
    # Near ω = 2 the residual grows for some 1 / (2 − ω) iterations before it falls.
    return 100 + 20 / abs(2 - omega)


_KERNELS = {"red_black": red_black, "natural": wavefront}
