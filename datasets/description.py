"""What a dataset holds, found by looking at some of its samples: forms, ranges, sizes and what is suspicious."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .dataset import Dataset

_CHUNK = 2**23  # bytes of one field that are in memory at a time
_SHOWN = 6  # samples that a text names


@dataclass(frozen=True)
class FieldDescription:
    """One array of a dataset.

    **Fields:**

    - `name`, `role`, `dtype`, `unit` ("" if the file does not tell one); `shape` of one sample and the names of its `axes`.
    - `nbytes`: the bytes of all samples.
    - `range`: least, mean, largest value and standard deviation of the finite values that were looked at; None if there are
      none.
    - `not_finite`: number of values that are NaN or infinite, among those looked at.
    - `constant`: whether all finite values are equal.
    - `zero_samples`, `constant_samples`, `not_finite_samples`: ids of the samples, among those looked at, whose values are all
      zero, all equal (in a field that is not constant) or not all finite.
    """

    name: str
    role: str
    dtype: str
    unit: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    nbytes: int
    range: tuple[float, float, float, float] | None
    not_finite: int
    constant: bool
    zero_samples: tuple[int, ...]
    constant_samples: tuple[int, ...]
    not_finite_samples: tuple[int, ...]

    def __str__(self) -> str:
        line = f"  {self.name:<12} {self.role:<9} ({', '.join(map(str, self.shape))}) {self.dtype}"
        line += f" [{self.unit}]" if self.unit else ""
        if self.range is not None and self.role != "domain":
            least, mean, most, _ = self.range
            line += f"  min {least:.4g}  mean {mean:.4g}  max {most:.4g}" + ("  (constant)" if self.constant else "")
        line += f"  !! {self.not_finite} values are not finite" if self.not_finite else ""
        if self.zero_samples and not self.constant:
            line += f"  !! all zero: {_samples(self.zero_samples)}"
        constant = tuple(i for i in self.constant_samples if i not in self.zero_samples)
        return line + (f"  !! constant: {_samples(constant)}" if constant and self.role == "field" else "")


@dataclass(frozen=True)
class Description:
    """A dataset in words and numbers. `str` of it is a text for people, `to_dict` a dict for JSON.

    **Fields:** `samples`; `looked_at`, how many of them were read; `domain`, in words; `space`, per axis of a grid its name,
    points, ends, layout and boundary condition; `times`: count, first, last and step (None if the steps differ), or None;
    `fields`; `attributes`; `notes`, what a reader assumed; `task`, a call that may fit the fields, or "".
    """

    samples: int
    looked_at: int
    domain: str
    space: tuple[Mapping[str, Any], ...]
    times: Mapping[str, Any] | None
    fields: tuple[FieldDescription, ...]
    attributes: Mapping[str, Any]
    notes: tuple[str, ...]
    task: str

    def to_dict(self) -> dict[str, Any]:
        """All of it in types of JSON; the range of a field is a dict of min, mean, max, std."""
        fields = []
        for each in self.fields:
            found = {**vars(each), "range": None}
            if each.range is not None:
                found["range"] = dict(zip(("min", "mean", "max", "std"), each.range, strict=True))
            fields.append({k: list(v) if isinstance(v, tuple) else v for k, v in found.items()})
        own = {**vars(self), "fields": fields, "nbytes": sum(each.nbytes for each in self.fields)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}

    def __str__(self) -> str:
        lines = [f"{self.samples} samples on {self.domain}"]
        if self.times is not None:
            step = self.times["step"]
            lines.append(
                f"{self.times['count']} instants, t = {self.times['first']:g} … {self.times['last']:g}"
                + ("" if step or self.times["count"] < 3 else ", not equally spaced")
            )
        lines += [str(each) for each in self.fields]
        shown = {k: v for k, v in self.attributes.items() if k not in ("ids", "units", "notes", "statistics")}
        lines += [f"  {key}: {_cut(value)}" for key, value in shown.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines + ([f"  task: {self.task}"] if self.task else []))


def described(data: "Dataset", samples: int) -> Description:
    """The description of a dataset, whose ranges are those of up to `samples` samples, equally spaced. Values are read in
    small parts.
    """
    positions = np.linspace(0, len(data) - 1, min(samples, len(data))).astype(int)
    units = data.attributes.get("units", {})
    fields = tuple(_field(data, name, positions, units) for name in data.fields)
    times = None
    if data.times is not None:
        steps = np.diff(data.times.astype(np.float64))
        equal = len(steps) and np.ptp(steps) <= 1e-4 * np.abs(steps).max()
        ends = {"first": float(data.times[0]), "last": float(data.times[-1])}
        times = {"count": len(data.times), **ends, "step": float(steps.mean()) if equal else None}
    notes = tuple(data.attributes.get("notes", ()))
    here = data.domain
    space = _axes(here.as_grid("describe")) if not here.arrays else ()
    return Description(
        len(data), len(positions), repr(here), space, times, fields, dict(data.attributes), notes, _task(data)
    )


def _axes(grid: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"name": a.name, "points": n, "start": a.start, "stop": a.stop, "layout": layout, "boundary": a.boundary}
        for a, n, layout in zip(grid.box.axes, grid.shape, grid.layouts, strict=True)
    )


def _field(data: "Dataset", name: str, positions: np.ndarray, units: Mapping[str, str]) -> FieldDescription:
    spec, seen = data.spec(name), _Seen()
    form = data.read([name], [])[name]
    one = form.itemsize * int(np.prod(form.shape[1:]))
    for position in positions:
        seen.start(int(data.ids[position]))
        for values in _parts(data, name, int(position), one):
            seen.add(values)
    domain = data.domains.get(spec.domain, data.domain)
    space = (list(domain.as_grid("describe").names) if not domain.arrays else ["point"]) if spec.role == "field" else []
    axes = ["time"] * spec.time + (space or ["point"] * (form.ndim - 1 - spec.time - len(spec.components)))
    return FieldDescription(
        name, spec.role, str(form.dtype), str(units.get(name, "")), (*axes, *["component"] * len(spec.components)),
        form.shape[1:], len(data) * one, seen.range, seen.not_finite, seen.constant,
        tuple(seen.zero), () if seen.constant else tuple(seen.still), tuple(seen.broken),
    )  # fmt: skip


def _parts(data: "Dataset", name: str, position: int, nbytes: int) -> Iterator[np.ndarray]:
    """The values of one sample, few frames at a time."""
    spec, frames = data.spec(name), data.instants
    step = frames if not spec.time or nbytes <= _CHUNK else max(1, _CHUNK * frames // nbytes)
    for start in range(0, frames, step) if spec.time else [0]:
        cut = range(start, min(start + step, frames)) if spec.time else None
        yield data.read([name], [position], frames=cut)[name]


class _Seen:
    """Ranges over the parts of samples."""

    def __init__(self):
        self.count, self.not_finite, self.total, self.squares = 0, 0, np.float64(0), np.float64(0)
        self.least, self.most, self.shift = np.inf, -np.inf, None
        self.zero, self.still, self.broken = list[int](), list[int](), list[int]()
        self._sample, self._ends = -1, (np.inf, -np.inf)

    def start(self, sample: int) -> None:
        """The parts that follow are those of a new sample, which counts as zero and still until a value says otherwise."""
        self._sample, self._ends = sample, (np.inf, -np.inf)
        self.zero.append(sample)
        self.still.append(sample)

    def add(self, values: np.ndarray) -> None:
        numbers = values[np.isfinite(values)].astype(np.float64)
        missing = values.size - numbers.size
        self.not_finite += missing
        if missing and self._sample not in self.broken[-1:]:
            self.broken.append(self._sample)
        if numbers.size:
            least, most = float(numbers.min()), float(numbers.max())
            self.shift = least if self.shift is None else self.shift
            self.least, self.most = min(self.least, least), max(self.most, most)
            self._ends = min(self._ends[0], least), max(self._ends[1], most)
            with np.errstate(over="ignore", invalid="ignore"):  # garbage may be as large as 1e308
                numbers -= self.shift
                self.count += numbers.size
                self.total += numbers.sum()
                self.squares += np.square(numbers).sum()
        if (missing or self._ends != (0.0, 0.0)) and self.zero[-1:] == [self._sample]:
            self.zero.pop()
        if (missing or self._ends[0] != self._ends[1]) and self.still[-1:] == [self._sample]:
            self.still.pop()

    @property
    def constant(self) -> bool:
        return self.count > 0 and self.least == self.most

    @property
    def range(self) -> tuple[float, float, float, float] | None:
        if not self.count:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            mean = self.total / self.count
            std = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0.0))
        half = self.most / 2 - self.least / 2  # no deviation is larger
        mean = np.clip(np.nan_to_num(mean + (self.shift or 0.0)), self.least, self.most)
        return self.least, float(mean), self.most, float(min(std, half) if np.isfinite(std) else half)


def _task(data: "Dataset") -> str:
    """A call of `Task.fit` that may suit the fields, by their roles and usual names."""
    fields = {name: spec for name, spec in data.fields.items() if spec.role == "field"}
    numbers = [name for name, spec in data.fields.items() if spec.role == "parameter" and not spec.time]
    timed = [name for name, spec in fields.items() if spec.time]
    steady = [name for name, spec in fields.items() if not spec.time]
    if timed:
        inputs, mode = [*timed, *steady, *numbers], ", mode=sx.Autoregressive(history=1)"
        return f"sx.Task.fit(data, inputs={tuple(inputs)!r}, targets={tuple(timed)!r}{mode})"
    targets = [name for name in steady if name.lower() in ("u", "y", "sol", "solution", "output", "p", "pressure", "w")]
    inputs = [name for name in steady if name not in targets] + numbers
    return f"sx.Task.fit(data, inputs={tuple(inputs)!r}, targets={tuple(targets)!r})" if inputs and targets else ""


def _samples(ids: tuple[int, ...]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"sample{'s' * (len(ids) > 1)} {', '.join(map(str, ids[:_SHOWN]))}{more}"


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}…"
