"""The record of a training run."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """Per epoch (or round of steps): mean training loss and validation error of every seed, and seconds.

    Of an epoch that is not over yet: `open_steps` done, the sum of their losses per seed, and seconds.
    """

    seeds: int = 1
    loss: list[list[float]] = field(default_factory=list)
    val: list[list[float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    open_steps: int = 0
    open_loss: list[float] = field(default_factory=list)
    open_seconds: float = 0.0

    def advance(self, losses: np.ndarray, seconds: float):
        """Count steps with these losses `(seeds, steps)` to the current epoch."""
        total = losses.sum(1, np.float64) + (self.open_loss or 0)
        self.open_steps, self.open_loss = self.open_steps + losses.shape[1], [float(x) for x in total]
        self.open_seconds += seconds

    def close(self, val: np.ndarray | None, seconds: float):
        """End the current epoch with these validation errors `(seeds,)`, which took some seconds more."""
        self.loss.append([x / self.open_steps for x in self.open_loss])
        if val is not None:
            self.val.append([float(x) for x in val])
        self.seconds.append(self.open_seconds + seconds)
        self.open_steps, self.open_loss, self.open_seconds = 0, [], 0.0

    @property
    def rounds(self) -> int:
        return len(self.loss)

    @property
    def best_error(self) -> np.ndarray:
        """Lowest validation error of every seed so far, infinity before the first."""
        return np.nanmin(self.val, axis=0) if self.val else np.full(self.seeds, np.inf)

    @property
    def rounds_since_best(self) -> int:
        """Rounds since the seed that improved last did."""
        if not self.val:
            return 0
        return len(self.val) - 1 - int(np.max(np.argmin(self.val, axis=0)))

    def plot(self):
        """A matplotlib figure of loss and validation error; the spread over seeds as a band."""
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
        for label, values in (("training loss", self.loss), ("validation error", self.val)):
            if values:
                values = np.asarray(values)
                epochs = np.arange(1, len(values) + 1)
                axes.semilogy(epochs, values.mean(1), label=label)
                if self.seeds > 1:
                    axes.fill_between(epochs, values.min(1), values.max(1), alpha=0.2)
        axes.set(xlabel="epoch")
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        return figure
