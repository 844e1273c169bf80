"""The optimisers of the command line."""

from collections.abc import Callable
from typing import Any, Literal

import optax

from ..surrogates.training.gauss_newton import GaussNewton
from ..surrogates.training.levenberg_marquardt import LevenbergMarquardt
from ..surrogates.training.soap import soap

Schedule = Literal["onecycle", "cosine", "halving", "constant"]


def _rate(schedule: Schedule, learning_rate: float, steps: int) -> Any:
    match schedule:
        case "onecycle":
            return optax.cosine_onecycle_schedule(max(steps, 1), learning_rate, pct_start=0.2)
        case "cosine":
            return optax.cosine_decay_schedule(learning_rate, max(steps, 1))
        case "halving":
            return optax.exponential_decay(learning_rate, max(steps // 5, 1), 0.5, staircase=True)
        case "constant":
            return learning_rate


def adamw(
    steps: int,
    /,
    *,
    learning_rate: float = 2e-3,
    schedule: Schedule = "onecycle",
    weight_decay: float = 1e-4,
    clip: float = 1.0,
    b2: float = 0.999,
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay.

    - `learning_rate`: the largest learning rate, 5e-4 to 4e-3.
    - `schedule`: one cosine cycle ("onecycle"), a decay by a cosine, five times halved ("halving"), or constant.
    - `weight_decay`: per unit of learning rate; 0 is Adam.
    - `clip`: largest norm of a gradient, of all parameters together.
    - `b2`: decay of the squared gradients; 0.95 for neural-spectral.
    """
    rate = _rate(schedule, learning_rate, steps)
    # With its rate in the memory, where records of the training find it.
    adam = optax.inject_hyperparams(optax.adamw, static_args=("weight_decay", "b2"))(
        rate, b2=b2, weight_decay=weight_decay
    )
    return optax.chain(optax.clip_by_global_norm(clip), adam)


def soap_steps(
    steps: int, /, *, learning_rate: float = 3e-3, schedule: Schedule = "cosine", clip: float = 1.0
) -> optax.GradientTransformation:
    """Shampoo's preconditioner with Adam in its eigenvectors (SOAP).

    - `learning_rate`: the largest learning rate, 1e-3 to 1e-2.
    - `schedule`: as of AdamW.
    - `clip`: largest norm of a gradient.
    """
    return optax.chain(optax.clip_by_global_norm(clip), soap(_rate(schedule, learning_rate, steps)))


def gauss_newton(steps: int, /, *, hold: int = 20) -> GaussNewton:
    """Gauss-Newton steps in float64, for models without data that are linear in their parameters (random-features).

    - `hold`: steps on the same points.
    """
    return GaussNewton(hold=hold)


def levenberg_marquardt(steps: int, /, *, hold: int = 10, damping: float = 1e-3) -> LevenbergMarquardt:
    """Levenberg-Marquardt steps in float64, for small networks without data (pinn, spinn, pig).

    - `hold`: steps on the same points.
    - `damping`: the first one.
    """
    return LevenbergMarquardt(hold=hold, damping=damping)


OPTIMIZERS: dict[str, Callable] = {
    "adamw": adamw, "soap": soap_steps, "gauss-newton": gauss_newton, "levenberg-marquardt": levenberg_marquardt,
}  # fmt: skip
