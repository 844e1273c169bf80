"""How time enters a learning problem: what of a sample is given, what is wanted, and how a window of frames moves on."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.domains import AbstractDomain
from ...core.storage import register
from ...datasets.source import FieldSpec

Specs = Mapping[str, FieldSpec]


class AbstractMode(abc.ABC):
    """What a sample gives to a surrogate and what is wanted from it.

    A sample is a dict of arrays without sample axis; arrays of time-dependent fields have their frames along the first
    axis. A surrogate is given the first `history` frames of every time-dependent input, and predicts the `ahead` frames
    of the targets behind them.
    """

    @property
    @abc.abstractmethod
    def history(self) -> int:
        """Frames of every time-dependent input that are given; 0 if none is."""

    @property
    @abc.abstractmethod
    def ahead(self) -> int:
        """Frames that one prediction holds; 0 for a steady task, whose prediction has no time axis."""

    @property
    @abc.abstractmethod
    def rolls_out(self) -> bool:
        """Whether predictions can be fed back as inputs."""

    @abc.abstractmethod
    def check(self, specs: Specs, inputs: tuple[str, ...], targets: tuple[str, ...]) -> None:
        """`ValueError` where the time axes of the fields do not suit the mode."""

    @abc.abstractmethod
    def out_channels(self, channels: int) -> int:
        """Channels that a network puts out per point for targets of so many channels."""

    @abc.abstractmethod
    def domain(self, space: AbstractDomain, dt: float | None) -> AbstractDomain:
        """The points at which a network is asked: those of space, or of space and time."""

    @abc.abstractmethod
    def spread(self, values: Array) -> Array:
        """Input values `(*space, c)` at the points at which the network is asked."""

    @abc.abstractmethod
    def frames_of(self, y: Float[Array, "..."]) -> Float[Array, "frames *space c"]:
        """Network output as frames; a steady one is one frame."""

    @property
    @abc.abstractmethod
    def increments(self) -> bool:
        """Whether networks put out differences of successive frames."""

    def window(self, calls: int = 1) -> int:
        """Frames of a time-dependent field that training on so many predictions in a row needs."""
        return self.history + calls * self.ahead

    def named(self, values: Array) -> Array:
        """One field `(frames, *space, …)` as a surrogate returns it: without time axis if the mode predicts one frame."""
        return values[0] if self.single else values

    def as_frames(self, values: Array) -> Array:
        """The inverse of `named`."""
        return values[None] if self.single else values

    @property
    def single(self) -> bool:
        """Whether a prediction has no time axis."""
        return self.ahead <= 1

    def wanted(self, values: Any, timed: bool, call: int = 0) -> Array:
        """The true frames `(frames, *space, …)` of prediction number `call`, from a target with its frames in a row."""
        if not timed:
            return jnp.asarray(values)[None]
        start = self.history + call * self.ahead
        return jnp.asarray(values)[start : start + self.ahead]


@register("Steady")
@dataclass(frozen=True)
class Steady(AbstractMode):
    """Targets from inputs of the same sample, without time."""

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
                f"fields {timed} have a time axis: pass mode=Autoregressive(history=1) or mode=SpaceTime(frames)"
            )

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
    """The next frames of the targets from the last `history` frames; predictions are fed back for longer forecasts.

    **Arguments:**

    - `history`: frames that are given, 1 to 10.
    - `horizon`: frames per prediction; more than 1 is temporal bundling (Brandstetter et al. 2022), as so many times
      the output channels.
    - `increments`: the network puts out differences of successive frames, which are normalised by statistics of their own;
      better where frames change little.
    """

    history: int = 1
    horizon: int = 1
    increments: bool = False

    def __post_init__(self):
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
    """A stretch of `frames` instants of the targets at once, time being one more coordinate of the network.

    Inputs without time are seen at every instant. Of inputs with time the first `history` frames are given (as channels),
    and the predicted frames follow them; a target whose first frame is an input needs `history=1`.
    """

    frames: int
    history: int = 0

    def __post_init__(self):
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
