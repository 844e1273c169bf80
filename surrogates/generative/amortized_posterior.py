"""`AmortizedPosterior`: posteriors of fields given any set of observations, learned at once for all of them."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ...core.arguments import checked, random_key
from ...core.domains import Grid
from ...core.storage import register
from ...solvers.diffusion import EDM, AbstractFixedSolver, AbstractGrid, AbstractSolver, Constraint, FlowMatching
from ...solvers.random import AbstractGaussianLaw
from ..networks.abstract_network import AbstractNetwork, AbstractNetworkConfig
from ..surrogate import AbstractConditionable
from ..task.task import Task
from .abstract_field_denoiser import AbstractFieldDenoiser, check_whole
from .conditioned import Conditioned, conditioned
from .noisy_inputs import noisy_inputs, noisy_signature
from .observe import Observe, listed
from .observed_set import ObservedSet
from .posterior import Posterior
from .sensor_transformer import SensorReader, SensorTransformer
from .sensors import Sensors


@register("AmortizedPosterior")
class AmortizedPosterior(AbstractFieldDenoiser, AbstractConditionable):
    """The posterior p(x | y) of the target fields x of a task given values y of them at any places, as a flow or diffusion model
    that has the observations as its condition.

        joint = sx.Task.fit(train, targets=("a", "u"))
        model = sx.AmortizedPosterior(joint, sensors=sx.generative.Sensors("u", most=32, std=(0.01, 0.1)),
                                      network=sx.FNO.config(width=32), noise=sx.random.Matern(0.1), key=key)
        found = sx.fit(model, train, val=val, optimizer=optax.adam(1e-3), epochs=300, ema=0.999)
        found.posterior(sx.Observe("u", at=xy, values=y, std=0.01), n=64, key=key).mean["a"]
        sx.evaluate({"amortized": found.best.conditioned(sx.Observe("u", at=xy, std=0.01))}, test, metrics=["rel_l2", "crps"])

    The loss is that of a `Denoiser`, the mean of |u(x_t, t, y) − (ε − x₀)|² with `FlowMatching()`, over samples x₀ and
    observations y that are drawn of each of them: `Sensors` says how. Its minimum is the velocity of p(x₀ | y) for every y. A
    transformer reads the set of observations (`SensorTransformer`) and makes a field of it, which the network sees beside the
    noisy one.

    The answer does not depend on the order of the observations, nor on what stands where the mask of `Observe` is False, to the
    last bit. It takes `steps` network evaluations without derivatives, where guidance of a `Denoiser` takes dozens of derivative
    products more. In return it knows only the kind of observations that it was trained for; guidance knows them all, and its
    network need not be trained again.

    As a surrogate it draws from the prior: nothing observed is one of the sets it is trained with.

    **Arguments:**

    - `task`: steady or space-time, on a grid.
    - `sensors`: one `Sensors`, or one for each field that is ever observed.
    - `network`: the config of a network on grids, `sx.FNO.config(width=32, modes=12)` or `sx.UNet.config(…)`.
    - `transformer`: sizes of the transformer.
    - `schedule`: `FlowMatching()` or `EDM()`.
    - `noise`: a law of Gaussian fields of about unit variance, such as `sx.random.Matern(0.1)`; None: white noise.
    - `key`: random key of the initial weights.
    - `steps`: network evaluations per sample of `samples`, by the automatic solver.

    It fails quietly far from what it was trained with: fewer training samples than its size asks for make its posteriors too
    narrow. See `calibration`.

    **Raises:** `ValueError` for autoregressive tasks, points that are no grid, sensors of fields that are no targets, and two
    `Sensors` of one field; `TypeError` for settings of another kind.

    **Source:** conditional flow matching as in Wildberger et al., "Flow matching for scalable simulation-based inference" (2023);
    transformers over sets as in Gloeckler et al., "All-in-one simulation-based inference" (2024).

    **Example:**

        >>> joint = sx.Task.fit(ds, targets=("a", "u"))
        >>> sensors = sx.generative.Sensors("u", most=8, std=0.1)
        >>> model = sx.AmortizedPosterior(joint, sensors=sensors, network=sx.FNO.config(width=4, modes=4, depth=1), key=key)
        >>> observed = sx.Observe("u", at=np.array([[0.25], [0.5]]), values=[1.0, 0.5], std=0.1)
        >>> model.posterior(observed, n=4, steps=4, key=key).samples["a"].shape                          # after fit(model, ds, …)
        (4, 16)
    """

    network: AbstractNetwork
    reader: SensorReader
    task: Task
    sensors: tuple[Sensors, ...] = eqx.field(static=True)
    schedule: EDM | FlowMatching = eqx.field(static=True)
    law: AbstractGaussianLaw | None = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    state: PyTree

    @checked
    def __init__(
        self,
        task: Task,
        *,
        sensors: Sensors | Sequence[Sensors],
        network: AbstractNetworkConfig,
        transformer: SensorTransformer = SensorTransformer(),  # noqa: B008 (frozen)
        schedule: EDM | FlowMatching = FlowMatching(),  # noqa: B008 (frozen)
        noise: AbstractGaussianLaw | None = None,
        key: Any,
        steps: int = 20,
    ):
        check_whole("AmortizedPosterior", task)
        self.sensors = (sensors,) if isinstance(sensors, Sensors) else tuple(sensors)
        named = [each.field for each in self.sensors]
        if not named or len(set(named)) < len(named) or not set(named) <= set(task.targets):
            raise ValueError(
                f"AmortizedPosterior(sensors=…) of the fields {named}: give one Sensors for each field that is observed, of the "
                f"targets {list(task.targets)}"
            )
        first, second = jax.random.split(random_key("AmortizedPosterior", key))
        signature = noisy_signature("AmortizedPosterior", task, transformer.width)
        periodic = signature.domain.as_grid("AmortizedPosterior").periodic
        self.network = network.build(signature, first)
        self.reader = SensorReader(transformer, periodic, task.target_channels, key=second)
        self.task, self.schedule, self.law, self.steps = task, schedule, noise, steps
        self.state = self.network.initial_state()

    # The observations as the condition ---------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """How many numbers can be observed."""
        return sum(each.most * self.task.spec(each.field).channels for each in self.sensors)

    @property
    def gaussian_law(self) -> None:
        return None

    def inputs(self, x, level, condition, place):
        fields, seen = condition
        return noisy_inputs(self.task, fields, place, x, level, seen)

    def unobserved(self, fields, grid):
        return dict(fields), _read(self.reader, ObservedSet.empty(self.capacity, grid.ndim), grid)

    def shown(self, fields, grid, key):
        drawn = [
            each.drawn(fields, grid, self.task, jax.random.fold_in(key, number))
            for number, each in enumerate(self.sensors)
        ]
        return fields, self.reader(ObservedSet.joined(drawn), grid)

    def given(self, evidence, grid, fields, guidance=None):
        observed = ObservedSet.of(evidence, self.task, grid).filled(self.capacity)
        return self.denoiser_on(grid), (dict(fields), _read(self.reader, observed, grid))

    # Answers -----------------------------------------------------------------------------------------------------------

    @checked
    def posterior(
        self,
        obs: Observe | Sequence[Observe],
        *,
        solver: AbstractSolver | AbstractFixedSolver | str = "auto",
        steps: int | AbstractGrid = 20,
        n: int = 64,
        key: Any,
        fields: Mapping[str, Any] | None = None,
        constraint: Constraint | None = None,
        at: Grid | None = None,
    ) -> Posterior:
        """Draw n samples of the fields given observations, as `posterior` of a `Denoiser` does.

        **Arguments:**

        - `obs`: one `Observe` or several with independent errors, of values at places.
        - `solver`, `steps`: as `solver` and `times` of `diffusion.sample`.
        - `n`, `key`: number of samples, random key. Sample i depends on the key and i alone.
        - `fields`: the inputs of the task, for a conditional model.
        - `constraint`: what the fields meet exactly, such as `Constraint(OnField("u", …))`.
        - `at`: a grid to sample on, if the network works on any; the grid of training by default.

        **Raises:** `ValueError` for observations of another kind than those of training (operators, correlated errors, other
        fields, more sensors) and for points outside. **Warns** of errors outside of the range of training, and if the samples
        stay far from the observations.
        """
        fields, key = dict(fields or {}), random_key("posterior", key)
        grid = self.grid(fields, at)
        evidence = self.evidence(self._checked("posterior", obs), grid, fields)
        return self.answer(evidence, grid, fields, n=n, key=key, solver=solver, steps=steps, constraint=constraint)

    @checked
    def conditioned(
        self,
        obs: Observe | Sequence[Observe],
        *,
        solver: AbstractSolver | AbstractFixedSolver | str = "auto",
        steps: int | AbstractGrid = 20,
        n: int = 32,
        key: Any = None,
        constraint: Constraint | None = None,
        noisy: bool = True,
    ) -> Conditioned:
        """The posterior as a surrogate, which reads the values of the observations from each sample of a dataset, as
        `conditioned` of a `Denoiser` does.

        **Arguments:** `obs`: one `Observe` or several, without values. `n`: samples whose mean is the prediction. `key`: of the
        errors and of the prediction's samples. `noisy`: add errors to the exact values of a dataset. The others as of
        `posterior`.

        **Raises:** as `posterior`; `ValueError` for observations with values, and for tasks in time.
        """
        self._checked("conditioned", obs)
        return conditioned(
            self, obs, guidance=None, solver=solver, steps=steps, n=n, key=key, constraint=constraint, noisy=noisy
        )

    def renewed(self, key: Array) -> "AmortizedPosterior":
        return AmortizedPosterior(
            self.task, sensors=self.sensors, network=self.network.config, transformer=self.reader.config,
            schedule=self.schedule, noise=self.law, key=key, steps=self.steps,
        )  # fmt: skip

    def _checked(self, call: str, obs: Any) -> tuple[Observe, ...]:
        """**Raises:** `ValueError` for observations that the model was not trained for."""
        parts = listed(call, obs)
        known = {each.field: each for each in self.sensors}
        for part in parts:
            if part.operator is not None or part.covariance is not None:
                what = "operator=…" if part.operator is not None else "covariance=…"
                raise ValueError(
                    f"{call}: this model was trained with values at places and independent errors, not with Observe({what}); "
                    "a Denoiser answers with guidance"
                )
            if part.field not in known:
                raise ValueError(
                    f"{call}: Observe({part.field!r}): this model was trained with sensors of {list(known)}"
                )
            sensors = known[part.field]
            _warn_of_errors(part, sensors)
        for name, each in known.items():
            places = sum(self._places(part) for part in parts if part.field == name)
            if places > each.most:
                raise ValueError(
                    f"{call}: {places} places of {name!r}, this model was trained with {each.most} at most; leave some out, "
                    f"those without a value too, or train with Sensors({name!r}, most={places}, …)"
                )
        return parts

    def _places(self, part: Observe) -> int:
        return int(np.prod(self.grid({}).shape)) if part.at is None else len(part.at)


@eqx.filter_jit
def _read(reader: SensorReader, observed: ObservedSet, grid: Grid) -> Float[Array, "*space c"]:
    return reader(observed.canonical(), grid)


def _warn_of_errors(part: Observe, sensors: Sensors) -> None:
    if part.std is None or isinstance(part.std, Tracer):
        return
    std, (low, high) = np.asarray(part.std, np.float64), sensors.ends
    if std.min(initial=np.inf) < 0.99 * low or std.max(initial=0.0) > 1.01 * high:
        warnings.warn(
            f"Observe({part.field!r}, std=…) has errors from {std.min():.3g} to {std.max():.3g}, this model was trained with "
            f"{low:.3g} to {high:.3g}: its spread is not that of the posterior",
            stacklevel=7,  # whoever called `posterior`
        )
