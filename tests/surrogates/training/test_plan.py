"""How long a training runs: totals, rounds, the end, and arguments that do not fit together."""

import pytest

from surrogax.surrogates.training.plan import Plan


def plan(epochs=None, steps=None, patience=None, *, per_round=7, per_step=20, seeds=1, has_data=True, validates=True):
    return Plan.of(epochs, steps, per_round, per_step, seeds, patience, has_data=has_data, validates=validates)


@pytest.mark.parametrize(
    ("options", "total", "rounds"),
    [
        ({"epochs": 3}, 21, 3),
        ({"epochs": 0}, 0, 0),
        ({"steps": 21}, 21, 3),
        ({"steps": 22}, 22, 4),
        ({"steps": 6}, 6, 1),
        ({"steps": 0}, 0, 0),
        ({"steps": 5, "has_data": False, "validates": False}, 5, 1),
    ],
)
def test_totals_and_rounds(options, total, rounds):
    made = plan(**options)
    assert (made.total, made.rounds) == (total, rounds)
    assert (made.per_round, made.per_step, made.seeds) == (7, 20, 1)


def test_the_end():
    forever = plan(epochs=3)
    assert not forever.finished(20, 1000) and forever.finished(21, 0) and forever.finished(22, 0)
    patient = plan(epochs=3, patience=2)
    assert not patient.finished(20, 1) and patient.finished(7, 2) and patient.finished(7, 3) and patient.finished(21, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of epochs=… and steps=…"),
        ({"epochs": 1, "steps": 1}, "exactly one of epochs=… and steps=…"),
        ({"epochs": 1, "has_data": False}, "without data it counts steps"),
        ({"epochs": -1}, r"fit\(epochs=-1\): expected 0 or more"),
        ({"steps": -1}, r"fit\(steps=-1\): expected 0 or more"),
        ({"steps": 1, "patience": 0}, r"fit\(patience=0\): expected 1 or more"),
        ({"steps": 1, "patience": 2, "validates": False}, r"fit\(patience=2\) needs val=…"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        plan(**options)
