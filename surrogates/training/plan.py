"""`Plan`: how long a training runs. It is checked before anything is computed."""

from dataclasses import dataclass

from ...core.arguments import count


@dataclass(frozen=True)
class Plan:
    """Numbers of steps of a training run.

    **Fields:**

    - `total`: number of optimiser steps.
    - `per_round`: number of steps of one round, after which models are validated: an epoch if there are data.
    - `per_step`: number of samples of one step; 1 without data.
    - `seeds`: number of models that are trained at once.
    - `epochs`: whether a round is a pass over data.
    - `patience`: training stops after so many rounds without a better validation error; None means never.
    """

    total: int
    per_round: int
    per_step: int
    seeds: int
    epochs: bool
    patience: int | None

    @classmethod
    def of(
        cls,
        epochs: int | None,
        steps: int | None,
        per_round: int,
        per_step: int,
        seeds: int,
        patience: int | None,
        *,
        has_data: bool,
        validates: bool,
    ) -> "Plan":
        """The plan that the arguments of `fit` describe. `has_data` and `validates` say whether there are training data and
        validation.

        **Raises:** `ValueError` for arguments that contradict each other.
        """
        if (epochs is None) == (steps is None) or (epochs is not None and not has_data):
            raise ValueError("fit needs exactly one of epochs=… and steps=…; without data it counts steps")
        for name, value in (("epochs", epochs), ("steps", steps), ("patience", patience)):
            if value is not None:
                count("fit", name, value, least=int(name == "patience"))
        if patience is not None and not validates:
            raise ValueError(f"fit(patience={patience}) needs val=…: it watches the validation error")
        total = steps if epochs is None else epochs * per_round
        assert total is not None
        return cls(total, per_round, per_step, seeds, has_data, patience)

    @property
    def rounds(self) -> int:
        """Number of rounds; the last one may be shorter than the others."""
        return -(-self.total // self.per_round)

    def finished(self, done: int, rounds_since_best: int) -> bool:
        """Whether training stops after `done` steps, `rounds_since_best` rounds after the last improvement."""
        return done >= self.total or (self.patience is not None and rounds_since_best >= self.patience)
