"""`Task`: the learning problem. It says what are inputs and targets, how time enters, and how values are normalised."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...core.arguments import checked, kind
from ...core.domains import AbstractDomain, Grid, PointCloud, Sites
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...datasets.source import FieldSpec
from ...solvers.pde.declaration import Fields, Problem
from ..parameter_range import ParameterRange
from ..shared_points import first_with_other_points
from .checks import check_fields
from .inputs import FieldValues, Inputs
from .modes import AbstractMode, SpaceTime, Steady
from .normalization import Normalizer
from .signature import Signature, SourceSignature
from .statistics import statistics, time_step

Place = Grid | PointCloud


@register("Task")
class Task(eqx.Module):
    """The learning problem: what is predicted from what. Make one with `Task.fit(train, inputs="a", targets="u")`.

    All surrogates that are compared with each other share one task. A surrogate maps fields to fields in physical units; the
    task translates between these and the normalised arrays of a network. `pack` makes the network's inputs from a sample.
    `decode` makes frames with channels, `(frames, *space, channels)` in physical units, from the network's output; a channel is
    a component of a target. `split` makes named fields from frames. Networks are built from the task's `signature`.

    **Fields:**

    - `inputs`, `parameters`, `targets`: names of the input fields, of the input parameters and of the predicted fields.
    - `mode`: how time enters: `Steady()`, `Autoregressive(…)` or `SpaceTime(…)`.
    - `domains`: pairs of name and domain, for all domains of the fields used.
    - `place`: name of the domain of the targets.
    - `dt`: time step of the training data; None if they are steady or unevenly spaced in time.
    - `specs`: pairs of name and form, for every field and parameter used.
    - `normalizers`: mean and standard deviation by name; those of the differences of successive frames under `"Δname"`; under
      the names of the points of clouds and meshes the lower ends and the longest side of the box of all training points.
    - `means`: the mean field of every target, if the task is steady and all samples have the same points; else empty. On
      clouds and meshes also these points.
    - `ranges`: smallest and largest value of every parameter in the training data; None without parameters.
    - `origins`: pairs of name and number per component, for fields and parameters whose mean is more than 1000 times their
      standard deviation, such as a pressure of 101325 ± 1. Single precision would hardly resolve such values. `predict`,
      `rollout`, `evaluate` and supervised training therefore subtract the origin in double precision before they round;
      normalisers, means and losses are those of the differences.

    **Example:**

        >>> task = sx.Task.fit(ds, inputs="a", targets="u")
        >>> task.in_channels, task.out_channels, task.inputs
        (1, 1, ('a',))
    """

    inputs: tuple[str, ...] = eqx.field(static=True)
    parameters: tuple[str, ...] = eqx.field(static=True)
    targets: tuple[str, ...] = eqx.field(static=True)
    mode: AbstractMode = eqx.field(static=True)
    domains: tuple[tuple[str, AbstractDomain], ...] = eqx.field(static=True)
    place: str = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)
    specs: tuple[tuple[str, FieldSpec], ...] = eqx.field(static=True)
    normalizers: dict[str, Normalizer]
    means: dict[str, Array]
    ranges: ParameterRange | None = None
    origins: tuple[tuple[str, tuple[float, ...]], ...] = eqx.field(static=True, default=())

    @classmethod
    @checked
    def fit(
        cls,
        train: Dataset,
        inputs: str | Sequence[str] = (),
        targets: str | Sequence[str] = (),
        *,
        mode: AbstractMode = Steady(),  # noqa: B008 (frozen)
    ) -> "Task":
        """Make a task from training data, whose mean and standard deviation normalise all values.

        Pass the training data only, so that nothing of the test data enters the model. They are read in blocks and need not fit
        into memory.

        **Arguments:**

        - `train`: the training data.
        - `inputs`: name or names of input fields and parameters; `"*"` is every field and parameter,
          apart from the targets of a mode without history; `()` is none.
        - `targets`: name or names of the fields to predict, all on one domain.
        - `mode`: how time enters, for example `Autoregressive(history=4)`; `Steady()` by default.

        **Raises:** `KeyError` for an unknown name; `ValueError` for a target that is no field, for targets on several domains,
        for time axes that do not suit the mode, and for NaN or infinity in the data.
        """
        everything = tuple(name for name, spec in train.fields.items() if spec.role != "domain")
        for what, names in (("inputs", inputs), ("targets", targets)):
            if not isinstance(names, str) and len(set(names)) < len(names):
                raise ValueError(f"Task.fit({what}={names}): a name is given twice")
        targets = _listed(targets, everything)
        inputs = _listed(inputs, tuple(n for n in everything if mode.history or n not in targets))
        if not targets:
            raise ValueError(f"Task.fit needs targets; this dataset has {everything}")
        if not len(train):
            raise ValueError("Task.fit needs samples; the dataset holds none")
        specs = {name: train.spec(name) for name in dict.fromkeys(inputs + targets)}
        check_fields(specs, targets)
        mode.check(specs, inputs, targets)
        if mode.ahead and train.instants > 1 and time_step(train.times) is None:
            warnings.warn(
                f"Task.fit: the instants of the data are uneven ({', '.join(f'{t:g}' for t in train.times[:4])}, …). A surrogate "
                "is not told how long its step is; it can be evaluated on the same instants, but not rolled out in time",
                stacklevel=3,
            )
        domains = {name: train.domains[name] for name in dict.fromkeys(s.domain for s in specs.values())}
        place = specs[targets[0]].domain
        means = not mode.ahead and first_with_other_points(train, domains[place]) is None
        normalizers, mean_fields, origins, ranges = statistics(
            train, specs, domains, targets if mode.increments else (), targets if means else ()
        )
        if means and not domains[place].fixed:
            mean_fields[domains[place].arrays[0]] = jnp.asarray(domains[place].sites(train[0]).points)
        return cls(
            inputs=tuple(n for n in inputs if specs[n].role == "field"),
            parameters=tuple(n for n in inputs if specs[n].role == "parameter"),
            targets=targets,
            mode=mode,
            domains=tuple(domains.items()),
            place=place,
            dt=time_step(train.times),
            specs=tuple(specs.items()),
            normalizers=normalizers,
            means=mean_fields,
            ranges=ranges if ranges.lower else None,
            origins=tuple((name, tuple(origin.tolist())) for name, origin in origins.items()),
        )

    @classmethod
    @checked
    def of(cls, problem: Problem, grid: Grid | int, *, mode: AbstractMode | None = None) -> "Task":
        """Make a task from a problem, without data, for solvers and for training without data.

        The random inputs of the problem are the task's inputs, its unknowns are the targets. Values are not normalised.

        **Arguments:**

        - `problem`: the declaration of the PDE.
        - `grid`: a grid on the problem's box, or the number of points per axis.
        - `mode`: how time enters. The default is `Steady()`, or for a time-dependent problem `SpaceTime(33)`: 33 instants that
          cover its whole time interval.
        """
        grid = problem.box.grid(grid)
        if mode is None:
            mode = Steady() if problem.time is None else SpaceTime(33)
        dt = problem.time.length / (mode.ahead - 1) if problem.time is not None and mode.ahead > 1 else None
        specs = {n: FieldSpec("field" if law.is_field else "parameter") for n, law in problem.laws.items()}
        inputs = tuple(n for n in specs if specs[n].role == "field")
        specs |= dict.fromkeys(problem.unknowns, FieldSpec(time=mode.ahead > 0))
        mode.check(specs, tuple(problem.laws), problem.unknowns)
        return cls(
            inputs=inputs,
            parameters=tuple(n for n in problem.laws if n not in inputs),
            targets=tuple(problem.unknowns),
            mode=mode,
            domains=(("", grid),),
            place="",
            dt=dt,
            specs=tuple(specs.items()),
            normalizers={n: Normalizer(jnp.zeros(1), jnp.ones(1)) for n in specs},
            means={},
        )

    # Names, sizes and domains ----------------------------------------------------------------------------------------

    def spec(self, name: str) -> FieldSpec:
        """The form of a field or parameter of the task. **Raises:** `KeyError` for another name."""
        return dict(self.specs)[name]

    @property
    def domain(self) -> AbstractDomain:
        """The domain of the targets in the training data."""
        return dict(self.domains)[self.place]

    @property
    def signature(self) -> Signature:
        """Sizes and domains of inputs and outputs, from which networks are built."""
        sources = tuple(
            SourceSignature(sum(self._in_channels(n) for n in names), asked, asked.space_axes > domain.space_axes)
            for asked, domain, names in ((self._asked(d, name), d, names) for name, d, names in self._sources())
        )
        return Signature(
            sources,
            sum(self.spec(n).channels for n in self.parameters),
            self.mode.out_channels(self.target_channels),
            self.mode.domain(self.domain, self.dt),
        )

    @property
    def target_channels(self) -> int:
        """Number of channels of one frame of all targets together."""
        return sum(self.spec(n).channels for n in self.targets)

    @property
    def labels(self) -> tuple[str, ...]:
        """One name per channel of the targets: "u" for a scalar, "v_0", "v_1", … for a vector."""
        return tuple(
            f"{name}_{i}" if spec.components else name
            for name, spec in ((n, self.spec(n)) for n in self.targets)
            for i in range(spec.channels)
        )

    @property
    def in_channels(self) -> int:
        """Number of channels of `Inputs.fields`. A time-dependent field counts once per frame of history."""
        return self.signature.in_channels

    @property
    def in_params(self) -> int:
        """Length of `Inputs.params`."""
        return self.signature.params

    @property
    def out_channels(self) -> int:
        """Number of channels of a network's output."""
        return self.signature.out_channels

    def is_field(self, name: str) -> bool:
        """Whether `name` is a field of the task, not a parameter or an array of a domain."""
        return name in dict(self.specs) and self.spec(name).role == "field"

    def is_timed(self, name: str) -> bool:
        """Whether the arrays of `name` have a time axis."""
        return name in dict(self.specs) and self.spec(name).time

    def names(self) -> tuple[str, ...]:
        """Names of all arrays of a dataset that training reads."""
        return tuple(n for n, _ in self.specs) + self._arrays(dict(self.domains))

    def input_names(self) -> tuple[str, ...]:
        """Names of all arrays of a sample that a prediction reads. Targets that are no inputs are not among them."""
        return self.inputs + self.parameters + self._arrays(dict(self.domains))

    def check(self, dataset: Dataset, *, targets: bool = True) -> None:
        """Check that a dataset suits this task. With `targets=False` only the inputs are checked, as for a prediction.

        **Raises:** `KeyError` for a missing field; `ValueError` for a field of another form, another domain, or too few instants.
        """
        for name, spec in self.specs:
            if not targets and name not in self.inputs + self.parameters:
                continue
            found = dataset.spec(name)
            if (found.role, found.components, found.time) != (spec.role, spec.components, spec.time):
                raise ValueError(f"field {name!r} of the dataset is {found}, but the task was fitted on {spec}")
            own, other = dict(self.domains)[spec.domain], dataset.domains[found.domain]
            if spec.role == "field" and not own.matches(other):
                raise ValueError(f"the task was fitted on {own!r}, the dataset lives on {other!r}")
        step = time_step(dataset.times) if self.mode.ahead else None
        if self.dt is not None and step is None and self.mode.ahead and dataset.instants > 1:
            raise ValueError(f"the task was fitted on instants {self.dt:g} apart, those of the dataset are uneven")
        if self.dt is not None and step is not None and abs(step - self.dt) > 1e-3 * abs(self.dt):
            raise ValueError(
                f"the task was fitted on instants {self.dt:g} apart, those of the dataset are {step:g} apart"
            )
        wanted = self.mode.window() if targets else self.mode.history
        if self.mode.ahead and dataset.instants < wanted:
            raise ValueError(f"{dataset.instants} instants are too few: {self.mode!r} needs {wanted}")

    def check_place(self, at: Any) -> None:
        """Check the argument `at` of a prediction.

        **Raises:** `TypeError` or `ValueError` for anything but a grid or a cloud in the dimension of the task; `ValueError` for
        points outside of the box of the training data.
        """
        kind(
            "predict",
            "at",
            at,
            (Grid, PointCloud, type(None)),
            "pass a grid, such as Grid.unit_square(128), or a PointCloud",
        )
        if at is not None and (at.ndim != self.domain.ndim or at.sites().points.ndim != at.space_axes + 1):
            raise ValueError(f"at={at!r}: expected one set of points in {self.domain.ndim} dimensions for all samples")
        if at is not None:
            sites = at.sites()
            outside = self.domain.outside(sites.points) & (True if sites.mask is None else np.asarray(sites.mask))
            if outside.any():
                raise ValueError(
                    f"at={at!r} is not on the box of {self.domain!r}: {outside.sum()} of {outside.size} points lie outside"
                )

    def warn_outside(self, dataset: Dataset) -> None:
        """Warn of clouds and meshes with points beyond the box of the training points by more than a tenth of its longest side,
        for example because they are in another unit. (Of the box its lower ends and its longest side are known.)"""
        for name, domain in self.domains:
            own = dataset.domains.get(name)
            if own is None or own.fixed or domain.arrays[0] not in self.normalizers:
                continue
            worst, beyond = 0.0, 0
            for _, block in dataset.blocks(list(own.arrays)):
                sites = own.sites(block)
                scaled = np.asarray(self.scaled(domain, np.asarray(sites.points, np.float64)))
                excess = np.maximum(-scaled, scaled - 1).max(-1)
                excess = excess if sites.mask is None else np.where(np.asarray(sites.mask), excess, 0)
                excess = excess.reshape(len(excess), -1).max(1)
                worst, beyond = max(worst, float(excess.max())), beyond + int((excess > 0.1).sum())
            if beyond:
                warnings.warn(
                    f"{beyond} of {len(dataset)} samples have points outside of the box of the training points, by up to "
                    f"{worst:.3g} of its longest side; the prediction extrapolates. Are they in the same unit?",
                    stacklevel=5,  # whoever called `predict`
                )

    # Large values that vary little ------------------------------------------------------------------------------------

    def about_origin(self) -> "Task":
        """This task for values from which `relative` has subtracted the origins."""
        return replace(self, origins=())

    def relative(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """NumPy arrays by name, `(…, [component])`, with the origins subtracted in double precision."""
        return {name: self._moved(name, values, -1.0) for name, values in arrays.items()}

    def absolute(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """The inverse of `relative`: arrays with the origins added. NumPy arrays become float64."""
        return {name: self._moved(name, values, 1.0) for name, values in arrays.items()}

    @property
    def target_origins(self) -> np.ndarray:
        """The origins of all channels of the targets, `(c,)`, in double precision; 0 where there is none."""
        found = dict(self.origins)
        return np.concatenate([np.asarray(found.get(n, (0.0,) * self.spec(n).channels)) for n in self.targets])

    def _moved(self, name: str, values, sign: float):
        if name not in dict(self.origins):
            return values
        origin = sign * np.asarray(dict(self.origins)[name])
        return values + (origin if self.spec(name).components else origin[0])

    # Domains of one sample -------------------------------------------------------------------------------------------

    def domain_of(self, fields: Fields) -> AbstractDomain:
        """The domain of the targets of one sample, at the resolution of its input fields."""
        return self._resolved(self.place, fields)

    def weights(self, fields: Fields, at: Place | None = None) -> Float[Array, "*space"]:
        """Quadrature weights at the points of one sample, or at those of `at`; zero at padded points."""
        domain = self.domain_of(fields) if at is None else at
        return jnp.asarray(domain.sites(fields).weights, jnp.float32)

    # One sample to arrays and back -----------------------------------------------------------------------------------

    def pack(self, fields: Fields, at: Place | None = None) -> Inputs:
        """The inputs of a network for one sample.

        **Arguments:** `fields`: the arrays of the sample by name, in physical units, without sample axis. `at`: a grid or point
        cloud at which output is wanted; by default the points of the sample.
        """
        place = self.domain_of(fields) if at is None else at
        if place.ndim != self.domain.ndim or place.sites(fields).points.ndim != place.space_axes + 1:
            raise ValueError(f"at={at!r}: expected one set of points in {self.domain.ndim} dimensions for all samples")
        return self.pack_for(fields, self._sites(self.mode.domain(place, self.dt), fields))

    def pack_at(self, fields: Fields, points: Float[Array, "n d"]) -> Inputs:
        """`pack` with the output wanted at single points, given in physical coordinates `(n, d)`. In a space-time task time is
        the first coordinate.

        **Raises:** `ValueError` for points of another dimension.
        """
        asked = self.mode.domain(self.domain, self.dt)
        if points.shape[-1] != asked.ndim:
            raise ValueError(f"points of shape {points.shape}: expected {asked.ndim} coordinates")
        scaled = self.scaled(asked, points)
        return self.pack_for(fields, Sites(scaled, jnp.ones(points.shape[:-1], scaled.dtype)))

    def pack_for(self, fields: Fields, query: Sites) -> Inputs:
        """`pack` with the output wanted at the sites `query`, whose coordinates are already scaled as networks see them."""
        sources = []
        for name, domain, names in self._sources():
            values = jnp.concatenate([self._channels(n, fields[n]) for n in names], -1)
            domain = self._resolved(name, fields)
            if name == self.place:
                values = self.mode.spread(values)
                domain = self.mode.domain(domain, self.dt)
            sites = self._sites(domain, fields)
            if sites.mask is not None:  # what is stored at padded points must not matter
                values = jnp.where(sites.mask[..., None], values, 0)
            sources.append(FieldValues(values, sites))
        numbers = [self._encoded(n, jnp.atleast_1d(jnp.asarray(fields[n]))) for n in self.parameters]
        return Inputs(tuple(sources), jnp.concatenate(numbers) if numbers else None, query)

    def target_parts(self) -> tuple[tuple[str, slice, Float[Array, ""]], ...]:
        """Name, channels and scale of every target. The scale is the standard deviation in the training data, over all components
        together."""
        parts, start = [], 0
        for name in self.targets:
            stop = start + self.spec(name).channels
            scale = jnp.sqrt((self.normalizers[name].std ** 2).mean())
            parts.append((name, slice(start, stop), scale))
            start = stop
        return tuple(parts)

    def wanted(self, fields: Fields, call: int = 0) -> Float[Array, "frames *space c"]:
        """The true targets of one sample as frames with channels, in physical units: the frames of prediction number `call`."""
        return jnp.concatenate(
            [self._with_channels(n, self.mode.wanted(fields[n], self.spec(n).time, call)) for n in self.targets], -1
        )

    def encode_targets(self, frames: Float[Array, "frames *space c"]) -> Float[Array, "frames *space c"]:
        """Normalised frames, from those of `wanted`: what a network should predict if the mode has no `increments`."""
        mean, std = (jnp.concatenate([x(self.normalizers[n]) for n in self.targets]) for x in (_mean, _std))
        return (frames - jnp.asarray(self.target_origins, frames.dtype) - mean) / std

    def decode(self, y: Float[Array, "*query out"], fields: Fields) -> Float[Array, "frames *space c"]:
        """Frames of the targets with channels, in physical units, from the output of a network.

        `fields` is the sample that was predicted; with `increments` its last given frame is added.

        **Raises:** `ValueError` for a wrong number of output channels.
        """
        expected = self.mode.out_channels(self.target_channels)
        if y.shape[-1] != expected:
            raise ValueError(f"the network returned shape {y.shape}, expected (*space, {expected})")
        frames = self.mode.frames_of(y)
        label = "Δ" if self.mode.increments else ""
        mean, std = (jnp.concatenate([x(self.normalizers[label + n]) for n in self.targets]) for x in (_mean, _std))
        values = frames * std + mean
        if not self.mode.increments:
            return values + jnp.asarray(self.target_origins, values.dtype)
        last = jnp.concatenate([self._with_channels(n, fields[n][self.mode.history - 1]) for n in self.targets], -1)
        return last + (values if len(values) == 1 else jnp.cumsum(values, 0))

    def split(self, frames: Float[Array, "frames *space c"]) -> dict[str, Array]:
        """Named fields `([frames], *space, [component])` from frames with channels. The frame axis is absent if the mode predicts
        one frame."""
        named, start = {}, 0
        for name in self.targets:
            spec = self.spec(name)
            part = frames[..., start : start + spec.channels]
            start += spec.channels
            named[name] = self.mode.named(part if spec.components else part[..., 0])
        return named

    def join(self, named: Mapping[str, Any]) -> Float[Array, "frames *space c"]:
        """Frames with channels from named fields, as a surrogate returns them. This is the inverse of `split`."""
        return jnp.concatenate(
            [self._with_channels(n, self.mode.as_frames(jnp.asarray(named[n]))) for n in self.targets], -1
        )

    def scaled(self, domain: AbstractDomain, points):
        """Coordinates `(…, d)` as networks see them: in [0, 1] along every axis of a box and along time. On clouds and meshes the
        box of all training points is scaled, by one factor, so that its longest side has length 1."""
        scaled, name = domain.scaled(points), domain.arrays[:1]
        if not name or name[0] not in self.normalizers:
            return scaled
        normalizer = self.normalizers[name[0]]
        time = scaled.shape[-1] - len(normalizer.mean)
        return jnp.concatenate([scaled[..., :time], normalizer.encode(scaled[..., time:])], -1)

    # Private ---------------------------------------------------------------------------------------------------------

    def _sources(self) -> list[tuple[str, AbstractDomain, tuple[str, ...]]]:
        """`(name of the domain, domain, names of the fields)` of every set of input fields that share a domain."""
        groups: dict[str, list[str]] = {}
        for name in self.inputs:
            groups.setdefault(self.spec(name).domain, []).append(name)
        return [(domain, dict(self.domains)[domain], tuple(names)) for domain, names in groups.items()]

    def _in_channels(self, name: str) -> int:
        return self.spec(name).channels * (self.mode.history if self.spec(name).time else 1)

    def _asked(self, domain: AbstractDomain, name: str) -> AbstractDomain:
        return self.mode.domain(domain, self.dt) if name == self.place else domain

    def _arrays(self, domains: Mapping[str, AbstractDomain]) -> tuple[str, ...]:
        return tuple(array for domain in domains.values() for array in domain.arrays)

    def _resolved(self, name: str, fields: Fields) -> AbstractDomain:
        """The domain `name` at the resolution of a sample, read off the shape of its first input field on that domain."""
        domain = dict(self.domains)[name]
        for field in self.inputs:
            if self.spec(field).domain == name:
                first = int(self.spec(field).time)
                return domain.at_shape(tuple(fields[field].shape[first : first + domain.space_axes]))
        return domain

    def _sites(self, domain: AbstractDomain, fields: Fields):
        """The sites of a sample in float32, with coordinates scaled as networks see them."""
        sites = domain.sites(fields)
        points = self.scaled(self._scaling(domain), sites.points)
        return eqx.tree_at(
            lambda s: (s.points, s.weights),
            sites,
            (jnp.asarray(points, jnp.float32), jnp.asarray(sites.weights, jnp.float32)),
        )

    def _scaling(self, domain: AbstractDomain) -> AbstractDomain:
        """The domain whose box scales the coordinates of `domain`: the task's own domain if the dimensions agree."""
        asked = self.mode.domain(self.domain, self.dt)
        return asked if asked.ndim == domain.ndim else domain

    def _with_channels(self, name: str, value):
        return value if self.spec(name).components else value[..., None]

    def _channels(self, name: str, value) -> Float[Array, "*space c"]:
        encoded = self._encoded(name, self._with_channels(name, jnp.asarray(value)))
        if not self.spec(name).time:
            return encoded
        encoded = jnp.moveaxis(encoded[: self.mode.history], 0, -2)
        return encoded.reshape(*encoded.shape[:-2], -1)

    def _encoded(self, name: str, value: Array) -> Float[Array, "*any c"]:
        """Normalised values `(…, c)` of one field or parameter, in float32."""
        if name in dict(self.origins):
            value = value - jnp.asarray(dict(self.origins)[name], jnp.result_type(value, jnp.float32))
        return self.normalizers[name].encode(value.astype(jnp.float32))

    def __repr__(self) -> str:
        given = ", ".join(self.inputs + self.parameters) or "nothing"
        return f"Task({given} → {', '.join(self.targets)}; {self.mode}; {self.domain!r})"


def _listed(names: str | Sequence[str], everything: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str):
        return everything if names == "*" else (names,)
    return tuple(names)


def _mean(normalizer: Normalizer):
    return normalizer.mean


def _std(normalizer: Normalizer):
    return normalizer.std
