"""How many modes a basis keeps."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float


@dataclass(frozen=True)
class Truncation:
    """Up to three criteria, of which the one that keeps the fewest modes decides; without any, all modes are kept.

    - `rank`: that many modes.
    - `energy`: the fewest modes with Σ_{j≤r} σ_j² ≥ energy · Σ_j σ_j², 0.9999 for example.
    - `tail`: the fewest modes with √Σ_{j>r} σ_j² ≤ tail.

    **Raises:** `ValueError` for a rank below 1 and an energy outside (0, 1].
    """

    rank: int | None = None
    energy: float | None = None
    tail: float | None = None

    def __post_init__(self):
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"pod: rank={self.rank}; expected at least 1")
        if self.tail is not None and not self.tail >= 0:
            raise ValueError(f"pod: tail={self.tail}; expected an error of the projection, 0 or more")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ValueError(f"pod: energy={self.energy}; expected a fraction in (0, 1], for example 0.9999")

    @property
    def rank_alone(self) -> bool:
        """Whether a rank is the only criterion."""
        return self.rank is not None and self.energy is None and self.tail is None

    def count(self, values: Float[Array | np.ndarray, " n"], floor: float) -> int:
        """Modes to keep, at least 1, of descending singular values; those up to `floor` times the first count as zero."""
        values = np.where(values > floor * values[0], values, 0)
        counts, squares = [max(int((values > 0).sum()), 1)], np.maximum(values, 0) ** 2
        if self.rank is not None:
            counts.append(self.rank)
        left_out = np.append(squares[::-1].cumsum()[::-1], 0)  # left_out[r] = Σ_{j ≥ r} σ²
        if self.energy is not None:
            counts.append(max(int(np.argmax(left_out <= (1 - self.energy) * left_out[0])), 1))
        if self.tail is not None:
            counts.append(max(int(np.argmax(left_out <= self.tail**2)), 1))
        return min(counts)
