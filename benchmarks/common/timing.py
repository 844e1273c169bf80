"""Seconds of calls. A call ends when every array of its result is computed, not when it returns."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def timed(call: Callable, *arguments) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = jax.block_until_ready(call(*arguments))
    return time.perf_counter() - start, result


def repeated(call: Callable, *arguments, repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls."""
    return [timed(call, *arguments)[0] for _ in range(repeats)]


def median_seconds(call: Callable, *arguments, repeats: int) -> float:
    """Median seconds of `repeats` calls after one that compiles."""
    timed(call, *arguments)
    return statistics.median(repeated(call, *arguments, repeats=repeats))


def in_turns(calls: Mapping[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Seconds of `repeats` rounds in which every call has its turn: a slow moment of the machine is shared by all."""
    rounds = [{name: timed(call)[0] for name, call in calls.items()} for _ in range(repeats)]
    return {name: [found[name] for found in rounds] for name in calls}
