"""Weights and states of the small denoisers of `benchmarks/sampling_overhead.py`, for every framework."""

import itertools

import numpy as np

SIDE, WIDTH, STEPS = 64, 16, 20
FIRST, LAST = 0.999, 0.001  # times of the straight path x_t = (1 − t) x₀ + t ε


def kernels() -> list[np.ndarray]:
    """3 × 3 kernels `(3, 3, in, out)` of three layers: the state and the time, `WIDTH`, `WIDTH`, the state."""
    rng, sizes = np.random.default_rng(0), (2, WIDTH, WIDTH, 1)
    shapes = [(3, 3, a, b) for a, b in itertools.pairwise(sizes)]
    return [(rng.standard_normal(s) / np.sqrt(9 * s[2])).astype(np.float32) for s in shapes]


def noise(batch: int) -> np.ndarray:
    """States `(batch, 64, 64, 1)` of pure noise."""
    return np.random.default_rng(1).standard_normal((batch, SIDE, SIDE, 1)).astype(np.float32)
