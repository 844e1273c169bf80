"""How long a training runs and in what pieces, checked before anything is computed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Steps of a training.

    **Fields:**

    - `total`: steps of the optimiser.
    - `per_round`: steps of one round: an epoch, or what lies between two validations without data.
    - `per_step`: samples of one step, 1 without data; `seeds`: trainings side by side.
    - `patience`: rounds without a better validation error after which training stops; None for never.
    """

    total: int
    per_round: int
    per_step: int
    seeds: int
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
        """The plan of `fit`'s arguments. **Raises:** `ValueError` for those that do not fit together."""
        if (epochs is None) == (steps is None) or (epochs is not None and not has_data):
            raise ValueError("fit needs exactly one of epochs=… and steps=…; without data it counts steps")
        for name, value in (("epochs", epochs), ("steps", steps), ("patience", patience)):
            if value is not None and value < (name == "patience"):
                raise ValueError(f"fit({name}={value}): expected a number of at least {int(name == 'patience')}")
        if patience is not None and not validates:
            raise ValueError(f"fit(patience={patience}) needs val=…: it watches the validation error")
        total = steps if epochs is None else epochs * per_round
        assert total is not None
        return cls(total, per_round, per_step, seeds, patience)

    @property
    def rounds(self) -> int:
        """Rounds, the last one perhaps short."""
        return -(-self.total // self.per_round)

    def finished(self, done: int, rounds_since_best: int) -> bool:
        """Whether training stops after `done` steps."""
        return done >= self.total or (self.patience is not None and rounds_since_best >= self.patience)
