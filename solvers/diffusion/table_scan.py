"""The compiled scan that runs a coefficient table: a move, an evaluation, and what of it is kept, step by step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from .constraint import Constrained
from .denoiser import Level
from .guidance import SAMPLES
from .table import Table


class Move(NamedTuple):
    """The way to where the network is evaluated next: weights of the solution, the point, a constant, D and the slots of the
    history; the weight of noise and the number of its draw. D has its own weight where the history holds something else."""

    accept: Any
    advance: Any
    noise: Any
    number: Any


class Row(NamedTuple):
    """One step of the scan: a move, an evaluation, and what of it is kept in which slot."""

    move: Move
    level: Level
    record: Any
    number: Any
    slot: Any


class Run(NamedTuple):
    """What is static in the scan."""

    corrects: bool
    stochastic: bool
    noise: Callable | None


def rows_of(table: Table, level: Level, keeps: bool, dtype) -> tuple[Row, Move]:
    """The rows of the scan, and the move that it leaves out: the last where steps move first, the entry where they move last,
    which they do if nothing is kept."""
    count, slots = table.evaluations, table.memory + 1 if keeps else 0
    ages = (np.arange(count)[:, None] - np.arange(slots)) % max(slots, 1)  # the slot of each age after every evaluation

    def arranged(weights, first: float):
        newest = weights[:, 2:3] if keeps and table.record is None else 0 * weights[:, 2:3]
        history = np.zeros_like(weights[:, :slots])
        if keeps:
            history[np.arange(count)[:, None], ages] = np.concatenate([newest, weights[:, 4:]], 1)
        found = np.concatenate([weights[:, :2], weights[:, 3:4], weights[:, 2:3] - newest, history], 1)
        entry = np.zeros_like(found[:1])
        entry[:, 0 if table.corrects else 1] = first
        if not table.corrects:  # the solution is the point
            found[:, 1] += found[:, 0]
        return np.concatenate([entry, found]).astype(dtype)

    numbers = np.arange(1, count + 1, dtype=np.int32)
    moves = Move(
        arranged(table.accept, 1.0),
        arranged(table.advance, table.entry[0]),
        np.append(table.entry[1], table.noise).astype(dtype),
        np.append(count + 1, numbers).astype(np.int32),
    )
    level, record = jax.tree.map(lambda a: np.asarray(a, dtype), (level, table.record))
    inner, outer = (slice(None, -1), -1) if keeps else (slice(1, None), 0)
    slot = ages[:, 0].astype(np.int32) if keeps else None
    rows = Row(jax.tree.map(lambda a: a[inner], moves), level, record, numbers, slot)
    return rows, jax.tree.map(lambda a: a[outer], moves)


def draw_noise(noise: Callable | None, key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """The noise of one sample, white without `noise`. **Raises:** `ValueError` if `noise` returns another shape."""
    if noise is None:
        return jax.random.normal(key, shape, dtype)
    drawn = jnp.asarray(noise(key, shape))
    if drawn.shape != shape:
        raise ValueError(f"sample: noise(key, {shape}) returned the shape {drawn.shape}")
    return drawn.astype(dtype)


@eqx.filter_jit
def integrate(run: Run, denoiser, rows: Row, outer: Move, size, states, keys, condition, trajectory: bool):
    """The state at the end of the table for every sample; with `trajectory` all points and denoised values, else None; and
    whether all of the samples are finite.

    Where earlier evaluations are kept, a step of the scan first moves and then evaluates: so all that was kept has been read
    when more is written, and the history stays where it is, in one array whose weights go round. In the other order every step
    copies it.
    """
    slots = rows.move.advance.shape[1] - 4
    relaxes = isinstance(denoiser, Constrained) and bool(denoiser.constraint.relax)

    def one(state, key):
        shape, dtype = state.shape, state.dtype

        def moved(move: Move, solution, point, denoised, history):
            if run.corrects:
                solution = _combined(move.accept, solution, point, denoised, history)
            point = _combined(move.advance, solution, point, denoised, history)
            if run.stochastic:
                assert key is not None
                point += move.noise * draw_noise(run.noise, jax.random.fold_in(key, move.number), shape, dtype)
            return solution, point

        def evaluated(point, row: Row):
            """D there, and the plain value of a constrained denoiser that relaxes."""
            level, plain = row.level, None
            if key is not None:
                level = level._replace(key=jax.random.fold_in(jax.random.fold_in(key, row.number), 1))
            if relaxes:
                found, plain = denoiser.both(point, level, condition)
            else:
                found = jnp.asarray(denoiser.at(point, level, condition))
            if found.shape != shape:
                raise ValueError(f"sample: the denoiser returned the shape {found.shape} for a sample of shape {shape}")
            return found.astype(dtype), plain

        def step(carry, row: Row):
            solution, point, denoised, history, velocity = carry
            if slots:
                solution, point = moved(row.move, solution, point, denoised, history)
            if relaxes:
                point = jnp.where(row.number > 1, denoiser.relaxed(point, velocity, row.level), point)
            found, plain = evaluated(point, row)
            seen = (point, found) if trajectory else None
            if relaxes:
                velocity = denoiser.velocity(point, plain, row.level)
            if not slots:
                return (*moved(row.move, solution, point, found, ()), None, None, None), seen
            kept = found if row.record is None else row.record[0] * point + row.record[1] * found
            history = lax.dynamic_update_index_in_dim(history, kept, row.slot, 0)
            return (solution, point, None if row.record is None else found, history, velocity), seen

        solution, point, zero = state if run.corrects else None, state, jnp.zeros_like(state)
        if slots:
            denoised, history = None if rows.record is None else zero, jnp.zeros((slots, *shape), dtype)
        else:
            (solution, point), denoised, history = moved(outer, solution, point, None, ()), None, None
        carry = solution, point, denoised, history, zero if relaxes else None
        (*carry, velocity), seen = lax.scan(jax.checkpoint(step), carry, rows)
        end = moved(outer, *carry)[1] if slots else carry[1]
        if relaxes:
            end = denoiser.relaxed(end, velocity, jax.tree.map(lambda a: a[-1], rows.level.target))
        return size * end, seen

    samples, seen = jax.vmap(one, axis_name=SAMPLES)(states, keys)
    return samples, seen, jnp.isfinite(samples).all()


def _combined(weights, solution, point, denoised, history):
    total = weights[2] if denoised is None else weights[3] * denoised + weights[2]
    # Evaluations first: they are large and of both signs beside a small step of the state, and cancel with fewer roundings.
    for slot in reversed(range(len(weights) - 4)):
        total += weights[4 + slot] * history[slot]
    return total + (weights[1] * point if solution is None else weights[0] * solution + weights[1] * point)
