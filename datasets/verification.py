"""Whether a dataset contradicts itself: parameters, coordinates, instants, statistics, samples that are missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.domains import Grid
from .description import FieldDescription, described
from .mode_decay import Line, decay, travel

if TYPE_CHECKING:
    from .dataset import Dataset

_SPEEDS = ("beta", "advection_speed", "advection_velocity", "speed", "c")
_DIFFUSIVITIES = ("nu", "Nu", "viscosity", "diffusivity", "diffusion_coef", "kappa", "D", "alpha")
_STRAIGHT = 0.05  # the largest distance from a straight line: of a phase in radians, of a logarithm
_AGREE = 0.05  # by how much two modes may differ, relative, and still obey one equation
_TOLERANCE = 0.03  # by how much a measured parameter may differ from the stored one


@dataclass(frozen=True)
class Finding:
    """One check.

    **Fields:** `check`, its name; `ok`: True, False for a contradiction, None where nothing can be compared; `sentence`, what was
    found; `stored` and `measured`, the two numbers where there are such.
    """

    check: str
    ok: bool | None
    sentence: str
    stored: float | None = None
    measured: float | None = None

    def __str__(self) -> str:
        return f"  {'ok' if self.ok else 'note' if self.ok is None else '!!':<5}{self.check}: {self.sentence}"


@dataclass(frozen=True)
class Verification:
    """The findings of `Dataset.verify`. `str` of it is a text, `to_dict` a dict for JSON."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts."""
        return all(finding.ok is not False for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """All of it in types of JSON."""
        return {"ok": self.ok, "findings": [dict(vars(finding)) for finding in self.findings]}

    def __str__(self) -> str:
        wrong = sum(finding.ok is False for finding in self.findings)
        head = "nothing contradicts" if self.ok else f"{wrong} contradiction{'s' * (wrong > 1)}"
        return "\n".join([head, *map(str, self.findings)])


def verified(data: "Dataset", samples: int) -> Verification:
    """The findings about a dataset, from up to `samples` samples."""
    found = described(data, samples)
    findings = [Finding("reader", None, note) for note in found.notes]
    findings += _values(found.fields) + _times(data)
    positions = np.linspace(0, len(data) - 1, min(samples, len(data))).astype(int)
    if not data.domain.arrays and len(positions):
        grid = data.domain.as_grid("verify")
        findings += _ends(data, grid, positions) + _parameters(data, grid, positions)
    return Verification(tuple(findings + _statistics(data)))


def _values(fields: Sequence[FieldDescription]) -> list[Finding]:
    findings = []
    for each in fields:
        if each.not_finite:
            said = f"{each.name} has {each.not_finite} values that are not finite, {_where(each.not_finite_samples)}"
            findings.append(Finding("values", False, said))
        if each.zero_samples and not each.constant and each.role == "field":
            said = f"{each.name} is zero everywhere {_where(each.zero_samples)}, as in samples that were never written"
            findings.append(Finding("values", False, said))
    return findings or [Finding("values", True, "all that were looked at are finite, no sample is zero everywhere")]


def _where(samples: tuple[int, ...]) -> str:
    return f"in sample {', '.join(map(str, samples[:6]))}" + (
        f" and {len(samples) - 6} more" if len(samples) > 6 else ""
    )


def _times(data: "Dataset") -> list[Finding]:
    if data.times is None or len(data.times) < 3:
        return []
    steps = np.diff(np.asarray(data.times, np.float64))
    if np.ptp(steps) <= 1e-3 * steps.max():
        return [Finding("instants", True, f"{len(data.times)} frames, {steps.mean():g} apart")]
    return [Finding("instants", None, f"{len(data.times)} frames, between {steps.min():g} and {steps.max():g} apart")]


def _ends(data: "Dataset", grid: Grid, positions: np.ndarray) -> list[Finding]:
    """Whether a periodic axis holds its end twice, which makes its spacing and its length wrong."""
    findings = []
    fields = [n for n, spec in data.fields.items() if spec.role == "field" and not spec.domain]
    for axis, (side, layout, n) in enumerate(zip(grid.box.axes, grid.layouts, grid.shape, strict=True)):
        said = (
            f"{side.name} ∈ [{side.start:g}, {side.stop:g}], {n} points ({layout}), {side.boundary or 'unknown'} sides"
        )
        twice = [name for name in fields if layout == "periodic" and n > 2 and _repeats(data, name, axis, positions)]
        if twice:
            said += f"; the last point of {', '.join(twice)} repeats the first: leave it out"
        findings.append(Finding("coordinates", not twice, said))
    return findings


def _repeats(data: "Dataset", name: str, axis: int, positions: np.ndarray) -> bool:
    frames = range(0, min(data.instants, 3)) if data.spec(name).time else None
    values = data.read([name], positions, frames=frames)[name].astype(np.float64)
    values = np.moveaxis(values, 1 + data.spec(name).time + axis, -1)
    varies = np.ptp(values, axis=-1).max() > 1e-3 * np.abs(values).max()
    return bool(varies and np.abs(values[..., -1] - values[..., 0]).max() <= 1e-6 * np.abs(values).max())


def _parameters(data: "Dataset", grid: Grid, positions: np.ndarray) -> list[Finding]:
    timed = [n for n, spec in data.fields.items() if spec.role == "field" and spec.time and not spec.components]
    if not timed or data.times is None or len(data.times) < 3:
        return []
    numbers = [n for n, s in data.fields.items() if s.role == "parameter" and not s.components and not s.time]
    findings = []
    if grid.layouts == ("periodic",):
        speeds = [name for name in numbers if name in _SPEEDS]
        findings += [_compared(data, grid, positions, name, timed[0], travel, "speed of mode 1") for name in speeds]
    if all(grid.box.boundaries):
        known = [name for name in numbers if name in _DIFFUSIVITIES]
        findings += [
            _compared(data, grid, positions, name, timed[0], decay, "decay of the lowest mode") for name in known
        ]
    return findings


def _compared(
    data: "Dataset",
    grid: Grid,
    positions: np.ndarray,
    name: str,
    field: str,
    measure: Callable[..., Line | None],
    what: str,
) -> Finding:
    """Compare a stored parameter of some samples with the one that their modes show."""
    times = np.asarray(data.times, np.float64)
    turn = grid.box.axes[0].length / float(np.diff(times).mean()) if measure is travel else np.inf
    stored, measured = [], []
    for position in positions:
        sample = data.read([field, name], [int(position)])
        lines = [measure(sample[field][0], times, grid, order) for order in (1, 2)]
        kept = [line for line in lines if line is not None]
        if lines[0] is None or any(line.deviation > _STRAIGHT for line in kept):
            continue
        first = lines[0].slope
        if len(kept) > 1 and abs(_nearest(kept[1].slope, first, turn / 2) - first) > _AGREE * abs(first):
            continue
        stored.append(float(sample[name][0]))
        measured.append(_nearest(first, stored[-1], turn))
    if not stored:
        said = f"{field} shows no single value to compare {name} with: another equation, or its modes are too weak"
        return Finding(what, None, said)
    apart = np.abs(np.array(measured) - stored)
    worst = int(np.argmax(apart))
    ok = bool(apart[worst] <= _TOLERANCE * max(abs(stored[worst]), abs(measured[worst])))
    said = f"{field} gives {measured[worst]:.4g}, which {'agrees with' if ok else 'contradicts'} the stored {name} ="
    return Finding(what, ok, f"{said} {stored[worst]:.4g} ({len(stored)} samples)", stored[worst], measured[worst])


def _nearest(value: float, to: float, period: float) -> float:
    """The value nearest to `to` among `value` plus multiples of a period."""
    return value + period * round((to - value) / period) if np.isfinite(period) else value


def _statistics(data: "Dataset") -> list[Finding]:
    """Whether the published statistics cover every field."""
    published = data.attributes.get("statistics")
    if published is None:
        return []
    if isinstance(published, str):
        return [Finding("statistics", False, published)]
    fields = [name for name, spec in data.fields.items() if spec.role == "field"]
    if missing := [f"{key} of {n}" for key in ("mean", "std") for n in fields if n not in published.get(key, {})]:
        said = f"the published statistics lack {', '.join(missing)}; whoever uses them leaves these fields unscaled"
        return [Finding("statistics", False, said)]
    if small := [name for name in fields if not np.all(np.asarray(published["std"][name], float) > 0)]:
        return [Finding("statistics", False, f"the published standard deviation of {', '.join(small)} is not positive")]
    return [Finding("statistics", True, f"mean and standard deviation of all {len(fields)} fields are published")]
