"""Snapshots with a known law."""

import numpy as np


def moving_gaussians(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """s a exp(−(x − c)²/2w²) at 512 points of [0, 1]: snapshots `(n, 512)` and their parameters `(n, 4)`: c, w, log a, s.

    c is uniform in [0.1, 0.9], w in [0.04, 0.08], log₁₀ a in [−1, 1], s = ±1.
    """
    rng, x = np.random.default_rng(seed), np.linspace(0, 1, 512)
    c, w = rng.uniform(0.1, 0.9, (n, 1)), rng.uniform(0.04, 0.08, (n, 1))
    a, sign = 10 ** rng.uniform(-1, 1, (n, 1)), rng.choice([-1.0, 1.0], (n, 1))
    return sign * a * np.exp(-((x - c) ** 2) / (2 * w**2)), np.concatenate([c, w, np.log(a), sign], 1)
