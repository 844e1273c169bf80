"""Successive over-relaxation in red-black and in natural order, and of sparse matrices colour by colour."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, ScalarLike

from ...kernels import multicolour, red_black
from ...kernels import triangular_wavefront as wavefront
from ...kernels.multicolour import ColouredMatrix
from ...kernels.red_black import RedBlackOperator
from ...kernels.triangular_wavefront import WavefrontOperator
from ..inner_products import norm
from ..method import bound_part, check_omega
from ..operators.colouring import coloured
from ..operators.field_operator import untagged
from ..operators.laplacian import as_diffusion
from ..operators.sparse import Sparse
from .stationary_method import AbstractStationary, Sweeps


class SOR(AbstractStationary):
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

    For `Diffusion` and `Laplacian` operators, obstacles and jumps included, and for `Sparse` matrices, which are swept colour by
    colour: unknowns that are not coupled at once (2 colours for a 5-point matrix, 6 to 8 for a mesh of triangles, where a sweep
    costs one product with A). It converges for symmetric positive definite operators; for a `Sparse` matrix without
    symmetry if its diagonal dominates and ω ≤ 1.

    Raises `TypeError` for other operators, `ValueError` for `omega` outside (0, 2) unless it is traced, for periodic axes
    with an odd number of points, which cannot be coloured, for any periodic axis and for a `Sparse` matrix in natural
    order. Divergence ends as `non_finite` or `max_steps`.

    **Example:**

        >>> omega = sx.linear.optimal_omega(jnp.cos(jnp.pi / 16))
        >>> sx.linear.Status(int(sx.linear.solve(A, b, sx.linear.SOR(omega, rtol=1e-4)).status)).name
        'converged'
    """

    omega: ScalarLike = 1.5
    rtol: ScalarLike = 1e-5
    atol: ScalarLike = 0.0
    max_steps: int = eqx.field(static=True, default=10_000)
    history: bool = eqx.field(static=True, default=False)
    order: Literal["red_black", "natural"] = eqx.field(static=True, default="red_black")
    packed: RedBlackOperator | WavefrontOperator | ColouredMatrix | None = None
    needs_symmetric: ClassVar[bool] = False

    def __check_init__(self):
        check_omega("SOR", self.omega)
        if self.order not in _ORDERS:
            raise ValueError(f"SOR: unknown order {self.order!r}; use 'red_black' or 'natural'")

    def bind(self, operator, *, transpose: bool = False) -> "SOR":
        if not isinstance(sparse := untagged(operator), Sparse):
            return dataclasses.replace(self, packed=packed_faces(_ORDERS[self.order].pack, operator, "SOR"))
        if self.order == "natural":
            raise ValueError(
                "SOR: order='natural' is for grids; leave it out for a Sparse matrix, swept colour by colour"
            )
        return dataclasses.replace(self, packed=coloured(sparse, "SOR"))

    def sweeps(self, operator, b: Float[Array, "*n"]) -> Sweeps:
        packed = bound_part(self, self.packed)
        if isinstance(packed, ColouredMatrix):
            return colour_sweeps(packed, b, self.omega)
        return _ORDERS[self.order].sweeps(packed, b, self.omega)


class RedBlackState(NamedTuple):
    """The red and the black half of x, and the residual at the red points."""

    halves: tuple[Array, Array]
    r_red: Array


class ColourState(NamedTuple):
    """x and the product U x with what couples to later colours, both sorted by colour."""

    x: Array
    above: Array


class NaturalState(NamedTuple):
    """x and its residual, both as wavefronts."""

    x: Array
    r: Array


def packed_faces(pack: Callable[..., Any], operator, method: str) -> Any:
    """The coefficients of a `Diffusion` or `Laplacian` in the order of the sweeps."""
    operator = as_diffusion(operator, method)
    return pack(operator.faces, operator.spacing, operator.boundaries, operator.shift)


def red_black_sweeps(packed: RedBlackOperator, b: Float[Array, "*n"], omega: ScalarLike) -> Sweeps:
    """All red points at once, then all black ones, by `kernels.red_black`."""
    b_halves, omega = red_black.split(b), jnp.asarray(omega, b.dtype)

    def start(x, r):
        halves = red_black.split(x)
        return RedBlackState(halves, red_black.residual_red(packed, *halves, b_halves[0]))

    def step(state: RedBlackState):
        halves, r_red, square = red_black.sor_sweep(packed, state.halves, b_halves, state.r_red, omega)
        return RedBlackState(halves, r_red), jnp.sqrt(square)

    def solution(state: RedBlackState):
        red, black = state.halves
        return red_black.merge(red, black, b.shape)

    return Sweeps(start, step, solution, _window(omega))


def natural_sweeps(packed: WavefrontOperator, b: Float[Array, "*n"], omega: ScalarLike) -> Sweeps:
    """From the first point to the last, by `kernels.triangular_wavefront`."""
    fronts, omega = packed.skew(b), jnp.asarray(omega, b.dtype)

    def start(x, r):
        return NaturalState(packed.skew(x), packed.skew(r))

    def step(state: NaturalState):
        x = state.x + omega * wavefront.solve_lower(packed, state.r, omega)
        r = fronts - wavefront.apply(packed, x)
        return NaturalState(x, r), norm(r)

    return Sweeps(start, step, lambda state: packed.unskew(state.x), _window(omega))


def colour_sweeps(packed: ColouredMatrix, b: Float[Array, "*n"], omega: ScalarLike) -> Sweeps:
    """All unknowns of a colour at once, colour after colour, by `kernels.multicolour`."""
    sorted_b, omega = packed.sort(b.ravel()), jnp.asarray(omega, b.dtype)

    def start(x, r):
        x = packed.sort(x.ravel())
        return ColourState(x, multicolour.apply_upper(packed, x))

    def step(state: ColourState):
        x, above, r = multicolour.sor_sweep(packed, state.x, state.above, sorted_b, omega)
        return ColourState(x, above), norm(r)

    return Sweeps(start, step, lambda state: packed.unsort(state.x).reshape(b.shape), _window(omega))


def _window(omega):
    # Near ω = 2 the residual grows for some 1 / (2 − ω) iterations before it falls.
    return 100 + 20 / abs(2 - omega)


class _Order(NamedTuple):
    pack: Callable[..., Any]
    sweeps: Callable[..., Sweeps]


_ORDERS = {
    "red_black": _Order(red_black.pack, red_black_sweeps),
    "natural": _Order(wavefront.pack, natural_sweeps),
}
