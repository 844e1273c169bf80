"""Exponential time differencing: Runge-Kutta steps for u' = L u + N(u, t) that treat a diagonal L exactly.

L is an array, real or complex, that broadcasts against u; for a PDE it is the symbol of the linear part and u the array of
Fourier (sine, cosine) coefficients, in any number of dimensions. A stiff L then costs nothing, and the order does not
drop where L is imaginary, because every coefficient stays complex.

Coefficients. With z = L Δt,

    φ₁(z) = (eᶻ − 1) / z,   φ₂(z) = (φ₁(z) − 1) / z,   φ₃(z) = (φ₂(z) − ½) / z.

So written they cancel for small z. For |z| < 2 we sum the Taylor series of φ₃ and go back by φ₂ = ½ + z φ₃ and
φ₁ = 1 + z φ₂; beyond, the quotients lose nothing. On the left half-plane, |z| from 1e-8 to 1e4, against extended precision,
the weights of ETDRK4 are wrong by at most 1e-15 in float64 and 6e-7 in float32, relative to |φ₁| or 1/(1 + |z|); the contour
means of Kassam and Trefethen (2005) with 32 points by 5e-13 and 3e-4. So one formula serves a NumPy L, whose coefficients
are computed in float64 and rounded to the precision of u, and a traced L (a random or differentiated viscosity), which is
taken in its own precision: a float32 L that is imaginary turns phases by ε|L|t too much or too little, as does any
rounding of L.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Inexact

Symbol = Inexact[Array, "*modes"] | Inexact[np.ndarray, "*modes"]
Step = Callable[[Array, Array], Array]
Instants = np.ndarray | Array | Sequence[float]

_NEAR = 2.0
_TERMS = 20  # of the series of φ₃: the first left out is 2²⁰/23! = 4e-17


def phi_functions(z: Symbol) -> tuple[Symbol, Symbol, Symbol, Symbol]:
    """eᶻ, φ₁, φ₂, φ₃ of every entry of `z`, in its precision; NumPy in, NumPy out. Differentiable everywhere."""
    xp = np if isinstance(z, np.ndarray) else jnp
    near = abs(z) < _NEAR
    small, large = xp.where(near, z, 0), xp.where(near, _NEAR, z)
    third = xp.zeros_like(z)
    for j in reversed(range(_TERMS)):
        third = third * small + 1 / math.factorial(j + 3)
    second = 0.5 + small * third
    first = 1 + small * second
    far_first = (xp.exp(large) - 1) / large
    far_second = (far_first - 1) / large
    far_third = (far_second - 0.5) / large
    return (
        xp.exp(z),
        xp.where(near, first, far_first),
        xp.where(near, second, far_second),
        xp.where(near, third, far_third),
    )


def etdrk1(linear: Symbol, nonlinear: Step, dt: float) -> Step:
    """The step u ↦ eᶻ u + Δt φ₁ N(u, t) of first order, exponential Euler. Arguments as for `etdrk2`."""
    whole, first, _, _ = phi_functions(linear * dt)
    coefficients = whole, dt * first

    def step(u, t):
        whole, first = _like(u, *coefficients)
        return whole * u + first * nonlinear(u, t)

    return step


def etdrk2(linear: Symbol, nonlinear: Step, dt: float) -> Step:
    """The step (u, t) ↦ u(t + Δt) of second order with two evaluations of N (Cox and Matthews, 2002).

    a = eᶻ u + Δt φ₁ N(u, t),   u(t + Δt) = a + Δt φ₂ (N(a, t + Δt) − N(u, t)).

    **Arguments:**

    - `linear`: L. A NumPy array gets its coefficients in float64; a JAX array may be traced. Complex L needs complex u.
    - `nonlinear`: N(u, t), of the shape and dtype of u.
    - `dt`: Δt.
    """
    whole, first, second, _ = phi_functions(linear * dt)
    coefficients = whole, dt * first, dt * second

    def step(u, t):
        whole, predict, correct = _like(u, *coefficients)
        n_u = nonlinear(u, t)
        a = whole * u + predict * n_u
        return a + correct * (nonlinear(a, t + dt) - n_u)

    return step


def etdrk4(linear: Symbol, nonlinear: Step, dt: float) -> Step:
    """The step (u, t) ↦ u(t + Δt) of fourth order with four evaluations of N (Cox and Matthews, 2002).

    With q = ½ Δt φ₁(z/2):

    a = e^(z/2) u + q N(u, t),   b = e^(z/2) u + q N(a, t + ½Δt),   c = e^(z/2) a + q (2 N(b, t + ½Δt) − N(u, t)),

    u(t + Δt) = eᶻ u + Δt ((φ₁ − 3φ₂ + 4φ₃) N(u) + (2φ₂ − 4φ₃) (N(a) + N(b)) + (4φ₃ − φ₂) N(c)).

    Arguments as for `etdrk2`. The order is 4 where u is smooth. With a stiff L and rough initial data (coefficients of u that
    fall algebraically) it falls to 2 or 3 until the solution has been smoothed.
    """
    whole, first, second, third = phi_functions(linear * dt)
    half, first_half, _, _ = phi_functions(linear * (dt / 2))
    weights = first - 3 * second + 4 * third, 2 * second - 4 * third, 4 * third - second
    coefficients = whole, half, dt / 2 * first_half, *(dt * w for w in weights)

    def step(u, t):
        whole, half, q, w_start, w_middle, w_end = _like(u, *coefficients)
        n_u = nonlinear(u, t)
        a = half * u + q * n_u
        n_a = nonlinear(a, t + dt / 2)
        b = half * u + q * n_a
        n_b = nonlinear(b, t + dt / 2)
        c = half * a + q * (2 * n_b - n_u)
        n_c = nonlinear(c, t + dt)
        return whole * u + w_start * n_u + w_middle * (n_a + n_b) + w_end * n_c

    return step


def integrate(
    method: Callable[[float], Step], u: Inexact[Array, "*modes"], times: Instants, dt: float
) -> tuple[Inexact[Array, "t *modes"], int]:
    """The states at `times` from the state `u` at time 0, and the number of steps taken.

    Every interval between instants is cut into equal steps of at most `dt`. Neighbouring intervals of one length share
    one compiled loop (a warm-up and then uniform instants are two), so many different lengths compile slowly. Backward
    passes store the state of every step and recompute what lies inside.

    **Arguments:**

    - `method`: step size ↦ step, for example `functools.partial(etdrk4, linear, nonlinear)`.
    - `times`: increasing, from 0 on; static numbers, since the number of steps depends on them.
    - `dt`: the largest step.

    Raises `TypeError` for traced times and `ValueError` for instants that do not increase from 0 or a step that is not
    positive.
    """
    saved, total = [], 0
    for start, stop, count, steps in _schedule(times, dt):
        if steps == 0:
            saved.append(u[None])
            continue
        interval, h = (stop - start) / count, (stop - start) / (count * steps)
        step = jax.checkpoint(method(h), prevent_cse=False)
        moments = np.arange(steps) * h
        begins = start + np.arange(count) * interval
        u, states = _run(step, u, jnp.asarray(begins[:, None] + moments, u.real.dtype))
        saved.append(states)
        total += count * steps
    return jnp.concatenate(saved), total


def propagate(
    linear: Inexact[Array | np.ndarray, "..."],
    u: Inexact[Array, "*modes"],
    times: Instants,
    source: Inexact[Array, "..."] | None = None,
) -> Inexact[Array, "t *modes"]:
    """The states of u' = L u + source at `times` from the state `u` at time 0, exact, without steps.

    Arguments and errors as for `integrate`; L broadcasts against u. A NumPy L gets its factors in float64, one array for each
    length of interval.

    - `source`: constant, or with one value for each instant `(t, *modes)`: then linear in between and constant before the
      first.
    """
    saved, done = [], 0
    for start, stop, count, _ in _schedule(times, math.inf):
        h, row = (stop - start) / count, slice(done, done + count)
        z = linear * h
        whole, first, second, _ = phi_functions(z) if source is not None else (_exp(z), z, z, z)
        whole, first, second = _like(u, whole, h * first, h * second)

        def advance(u, sources, whole=whole, first=first, second=second):
            u = whole * u
            if sources is not None:
                before, after = sources
                u = u + first * before + second * (after - before)
            elif source is not None:
                u = u + first * source
            return u, u

        timed = source is not None and source.ndim > u.ndim
        ends = (jnp.concatenate([source[:1], source[:-1]])[row], source[row]) if timed else None
        u, states = lax.scan(advance, u, ends, count)
        saved.append(states)
        done += count
    return jnp.concatenate(saved)


def linear_in_time(
    values: Inexact[Array, "t *modes"], times: Instants, precision: jnp.dtype
) -> Callable[[Array], Inexact[Array, "*modes"]]:
    """The function of time through `values` at `times`, linear in between and constant outside of them. `precision`: of time."""
    instants = jnp.asarray(checked_instants(times), precision)

    def at(t: Array) -> Inexact[Array, "*modes"]:
        i = jnp.clip(jnp.searchsorted(instants, t) - 1, 0, max(len(instants) - 2, 0))
        after = jnp.minimum(i + 1, len(instants) - 1)
        share = jnp.clip((t - instants[i]) / jnp.where(after > i, instants[after] - instants[i], 1), 0, 1)
        return values[i] + share * (values[after] - values[i])

    return at


def checked_instants(times: Instants) -> np.ndarray:
    """`times` in float64; `TypeError` if traced, `ValueError` unless they increase from 0 or later."""
    if any(isinstance(t, Tracer) for t in jax.tree.leaves(times)):
        raise TypeError("times must be static numbers (a NumPy array), not traced: the number of steps depends on them")
    instants = np.asarray(times, np.float64)
    increasing = instants.ndim == 1 and len(instants) and instants[0] >= 0 and (np.diff(instants) > 0).all()
    if not (increasing and np.isfinite(instants).all()):
        raise ValueError(
            f"times must be one or more finite instants that increase, the first not before 0; got {instants}"
        )
    return instants


def _exp(z: Symbol) -> Symbol:
    return np.exp(z) if isinstance(z, np.ndarray) else jnp.exp(z)


def _run(step: Step, u: Array, moments: Array) -> tuple[Array, Array]:
    """One step from each of `moments` (instants, steps): the last state and those after every row."""

    def to_next_instant(u, row):
        u, _ = lax.scan(lambda u, t: (step(u, t), None), u, row)
        return u, u

    return lax.scan(to_next_instant, u, moments)


def _schedule(times: Instants, dt: float) -> Iterator[tuple[float, float, int, int]]:
    """Runs of equal intervals: (start, stop, number of intervals, steps per interval)."""
    instants = checked_instants(times)
    lengths = np.diff(instants, prepend=0.0)
    if not dt > 0:
        raise ValueError(f"dt={dt}: the step must be positive")
    # Instants that were float32 once are uniform up to its rounding.
    tolerance = 4 * np.finfo(np.float32).eps * instants
    first = 0
    for i in range(1, len(lengths) + 1):
        if i == len(lengths) or abs(lengths[i] - lengths[first]) > tolerance[i]:
            start = instants[first - 1] if first else 0.0
            steps = math.ceil(max(lengths[first] / dt * (1 - 1e-9), lengths[first] > 0))
            yield start, instants[i - 1], i - first, steps
            first = i


def _like(u: Array, *coefficients: Array | np.ndarray) -> Iterator[Array]:
    """Real and complex coefficients in the precision of `u`."""
    real, imaginary = u.real.dtype, jnp.result_type(u.dtype, jnp.complex64)
    return (jnp.asarray(c, imaginary if jnp.iscomplexobj(c) else real) for c in coefficients)
