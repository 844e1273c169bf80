"""Modes, the ways in which time enters a learning problem: `Steady`, `Autoregressive`, `SpaceTime`."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import check_fields
from ...core.domains import AbstractDomain
from ...core.storage import register
from ...datasets.source import FieldSpec

Specs = Mapping[str, FieldSpec]


class AbstractMode(abc.ABC):
    """Says which frames of a sample a surrogate is given and which it predicts.

    A sample is a dict of arrays without sample axis; the first axis of a time-dependent field counts its frames. A surrogate is
    given the first `history` frames of every time-dependent input, and predicts the next `ahead` frames of the targets.
    """

    @property
    @abc.abstractmethod
    def history(self) -> int:
        """Number of frames that are given of every time-dependent input; 0 if none is."""

    @property
    @abc.abstractmethod
    def ahead(self) -> int:
        """Number of frames of one prediction; 0 for a steady task, whose prediction has no time axis."""

    @property
    @abc.abstractmethod
    def rolls_out(self) -> bool:
        """Whether predictions can be fed back as inputs."""

    @abc.abstractmethod
    def check(self, specs: Specs, inputs: tuple[str, ...], targets: tuple[str, ...]) -> None:
        """Check the roles of a task. **Raises:** `ValueError` if the time axes of the fields do not suit the mode."""

    @abc.abstractmethod
    def out_channels(self, channels: int) -> int:
        """Number of output channels per point of a network whose targets have `channels` per frame."""

    @abc.abstractmethod
    def domain(self, space: AbstractDomain, dt: float | None) -> AbstractDomain:
        """The points at which a network is asked: the points of `space`, or those of space and time with the time step `dt`."""

    @abc.abstractmethod
    def spread(self, values: Array) -> Array:
        """Input values `(*space, c)` at the points of `domain`; in space-time they are repeated at every instant."""

    @abc.abstractmethod
    def frames_of(self, y: Float[Array, "..."]) -> Float[Array, "frames *space c"]:
        """The output of a network, split into frames; a steady output is one frame."""

    @property
    def slides(self) -> bool:
        """Whether a training sample may start anywhere in a trajectory: only where inputs are given that tell the place."""
        return self.history > 0

    @property
    @abc.abstractmethod
    def increments(self) -> bool:
        """Whether networks predict the differences of successive frames."""

    def window(self, calls: int = 1) -> int:
        """Number of frames of a time-dependent field that training on `calls` predictions in a row needs."""
        return self.history + calls * self.ahead

    def named(self, values: Array) -> Array:
        """A predicted field `(frames, *space, …)` as a surrogate returns it: a mode that predicts one frame has no frame axis."""
        return values[0] if self.single else values

    def as_frames(self, values: Array) -> Array:
        """The inverse of `named`."""
        return values[None] if self.single else values

    @property
    def single(self) -> bool:
        """Whether a prediction has no frame axis, because the mode is steady or predicts one frame."""
        return self.ahead <= 1

    def wanted(self, values: Any, timed: bool, call: int = 0) -> Array:
        """The true frames `(frames, *space, …)` of prediction number `call`, from the values of a target of one sample.

        `timed` says whether `values` have a time axis. Values without one are one frame.
        """
        if not timed:
            return jnp.asarray(values)[None]
        start = self.history + call * self.ahead
        return jnp.asarray(values)[start : start + self.ahead]


@register("Steady")
@dataclass(frozen=True)
class Steady(AbstractMode):
    """Targets are predicted from inputs without time. This is the mode of steady problems.

    **Example:**

        >>> task.mode
        Steady()
    """

    @property
    def history(self) -> int:
        return 0

    @property
    def ahead(self) -> int:
        return 0

    @property
    def rolls_out(self) -> bool:
        return False

    @property
    def increments(self) -> bool:
        return False

    def check(self, specs: Specs, inputs: tuple[str, ...], targets: tuple[str, ...]) -> None:
        timed = [name for name, spec in specs.items() if spec.time]
        if timed:
            raise ValueError(
                f"fields {timed} have a time axis: pass mode=Autoregressive(history=1) or mode=SpaceTime(frames), "
                "or take one instant of the data, dataset.frame(-1)"
            )
        if given := [name for name in targets if name in inputs]:
            raise ValueError(f"targets {given} are inputs as well: a steady surrogate would be given the answer")

    def out_channels(self, channels: int) -> int:
        return channels

    def domain(self, space: AbstractDomain, dt: float | None) -> AbstractDomain:
        return space

    def spread(self, values: Array) -> Array:
        return values

    def frames_of(self, y):
        return y[None]

    def __str__(self) -> str:
        return "steady"


@register("Autoregressive")
@dataclass(frozen=True)
class Autoregressive(AbstractMode):
    """The next frames of the targets are predicted from the last `history` frames. Rollouts feed predictions back as inputs.

    All targets must be time-dependent fields that are inputs too.

    **Arguments:**

    - `history`: number of frames that are given; 1 to 10.
    - `horizon`: number of frames per prediction. With more than 1 (temporal bundling, Brandstetter et al. 2022) the network
      has `horizon` times the output channels.
    - `increments`: if True, the network predicts the differences of successive frames, which have their own normalisation. This
      is better if successive frames differ little.

    **Raises:** `ValueError` for `history` or `horizon` below 1.

    **Example:**

        >>> w = np.stack([a * t for t in range(4)], 1)          # (sample, time, x)
        >>> data = sx.from_arrays({"w": w}, grid=ds.grid, times=np.arange(4.0))
        >>> sx.Task.fit(data, inputs="w", targets="w", mode=sx.Autoregressive(history=2)).in_channels
        2
    """

    history: int = 1
    horizon: int = 1
    increments: bool = False

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        if self.history < 1 or self.horizon < 1:
            raise ValueError(f"{self!r}: history and horizon must be 1 or more")

    @property
    def ahead(self) -> int:
        return self.horizon

    @property
    def rolls_out(self) -> bool:
        return True

    def check(self, specs: Specs, inputs: tuple[str, ...], targets: tuple[str, ...]) -> None:
        wrong = [n for n in targets if n not in inputs or not specs[n].time]
        if wrong:
            raise ValueError(f"{self!r}: targets {wrong} must be timed fields and inputs as well")

    def out_channels(self, channels: int) -> int:
        return self.horizon * channels

    def domain(self, space: AbstractDomain, dt: float | None) -> AbstractDomain:
        return space

    def spread(self, values: Array) -> Array:
        return values

    def frames_of(self, y):
        return jnp.moveaxis(y.reshape(*y.shape[:-1], self.horizon, -1), -2, 0)

    def __str__(self) -> str:
        bundle = f" of {self.horizon} frames" if self.horizon > 1 else ""
        kind = "increments" if self.increments else "values"
        return f"autoregressive, history {self.history}, predicts {kind}{bundle}"


@register("SpaceTime")
@dataclass(frozen=True)
class SpaceTime(AbstractMode):
    """All `frames` instants of the targets are predicted at once. Time is one more coordinate of the network's points.

    An input without time is given at every instant. The first `history` frames of a time-dependent input are given as channels,
    and the predicted frames follow them. To predict a trajectory from its first frame, make the field an input and a target,
    with `history=1`.

    **Arguments:** `frames`: number of predicted frames, 2 or more. `history`: number of given frames of time-dependent inputs; 0
    if no input depends on time.

    **Raises:** `ValueError` for `frames` below 2 or `history` below 0.

    **Example:**

        >>> w = np.stack([a * t for t in range(4)], 1)          # (sample, time, x)
        >>> data = sx.from_arrays({"a": a}, {"w": w}, grid=ds.grid, times=np.arange(4.0))
        >>> sx.Task.fit(data, inputs="a", targets="w", mode=sx.SpaceTime(frames=4)).mode
        SpaceTime(frames=4, history=0)
    """

    frames: int
    history: int = 0

    def __post_init__(self):
        self.__check_init__()

    def __check_init__(self):
        check_fields(self)
        if self.frames < 2 or self.history < 0:
            raise ValueError(f"{self!r}: frames must be 2 or more and history 0 or more")

    @property
    def ahead(self) -> int:
        return self.frames

    @property
    def rolls_out(self) -> bool:
        return False

    @property
    def increments(self) -> bool:
        return False

    def check(self, specs: Specs, inputs: tuple[str, ...], targets: tuple[str, ...]) -> None:
        steady = [n for n in targets if not specs[n].time]
        if steady:
            raise ValueError(f"{self!r}: targets {steady} have no time axis")
        timed = [n for n in inputs if specs[n].time]
        if timed and not self.history:
            raise ValueError(
                f"{self!r}: inputs {timed} have a time axis; say how many of their frames are given: history=1"
            )
        if self.history and not timed:
            raise ValueError(f"{self!r}: no input has a time axis, so that history={self.history} means nothing")

    def out_channels(self, channels: int) -> int:
        return channels

    def domain(self, space: AbstractDomain, dt: float | None) -> AbstractDomain:
        return space.over_time(self.frames, 1.0 if dt is None else dt)

    def spread(self, values: Array) -> Array:
        return jnp.broadcast_to(values, (self.frames, *values.shape))

    def frames_of(self, y):
        return y

    def __str__(self) -> str:
        given = f", {self.history} given" if self.history else ""
        return f"space-time, {self.frames} frames{given}"
