"""Which fields are inputs and which are targets, and how a sample becomes arrays for a network and back."""

from dataclasses import replace
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...core.domains import Grid
from ...core.storage import register
from ...datasets.dataset import Dataset
from ...datasets.source import FieldSpec
from ...solvers.pde.declaration import Fields, Problem
from .checks import check_roles, finite
from .normalization import Moments, Normalizer

_CLOUD = ("points", "weights", "mask")


@register("Inputs")
class Inputs(eqx.Module):
    """What a network sees of one sample; any part may be absent.

    - `fields` `(*space, c)`: normalised input fields, channels in the order of `task.inputs`.
    - `params` `(p,)`: normalised numbers of the sample.
    - `query` `(*space, d)`: coordinates at which output is wanted, scaled to [0, 1] per axis on grids.
    - `mask` `(*space)`: True at real points of a padded point cloud.
    """

    fields: Float[Array, "*space c"] | None = None
    params: Float[Array, " p"] | None = None
    query: Float[Array, "*query d"] | None = None
    mask: Bool[Array, "*points"] | None = None


@register("Task")
class Task(eqx.Module):
    """The learning problem: made by `Task.fit(train, inputs=…, targets=…)`, shared by every surrogate of a comparison.

    - steady: `targets` from `inputs` of the same sample;
    - autoregressive (`history` > 0): the next frame of the targets from the last `history` frames of every timed input
      and from the static ones, as a value or as a difference (`predict="delta"`) to the last frame.

    **Fields:** `inputs`, `parameters`, `targets` (names), `history`, `predict`, `grid` (of the training data; None for point
    clouds), `specs`, `normalizers` by field name (a target's increment under `"Δname"`), `means`, the mean field of every
    target of a steady task on a grid.
    """

    inputs: tuple[str, ...] = eqx.field(static=True)
    parameters: tuple[str, ...] = eqx.field(static=True)
    targets: tuple[str, ...] = eqx.field(static=True)
    history: int = eqx.field(static=True)
    predict: Literal["value", "delta"] = eqx.field(static=True)
    grid: Grid | None = eqx.field(static=True)
    specs: tuple[tuple[str, FieldSpec], ...] = eqx.field(static=True)
    normalizers: dict[str, Normalizer]
    means: dict[str, Array]

    @classmethod
    def fit(
        cls,
        train: Dataset,
        inputs: str | tuple[str, ...] = (),
        targets: str | tuple[str, ...] = (),
        *,
        history: int = 0,
        predict: Literal["value", "delta"] = "value",
    ) -> "Task":
        """Roles from the names, statistics from `train` alone, read in blocks.

        **Arguments:**

        - `inputs`: names of fields and parameters; `"*"` is every field and parameter.
        - `targets`: names of fields.
        - `history`: frames seen by an autoregressive task, 0 for a steady one.

        **Raises:** `KeyError` for an unknown name, `ValueError` for roles that do not fit or values that are not finite.
        """
        everything = tuple(k for k, s in train.fields.items() if s.role != "domain")

        def listed(names) -> tuple[str, ...]:
            if isinstance(names, str):
                return everything if names == "*" else (names,)
            return tuple(names)

        inputs = listed(inputs)
        targets = listed(targets)
        if not targets:
            raise ValueError(f"Task.fit needs targets; this dataset has {everything}")
        specs = {name: train.spec(name) for name in dict.fromkeys(inputs + targets)}
        check_roles(specs, inputs, targets, history, predict)
        fields = tuple(n for n in inputs if specs[n].role == "field")
        increments = targets if predict == "delta" else ()
        moments = {name: Moments(len(spec.components) and spec.channels) for name, spec in specs.items()}
        moments |= {f"Δ{name}": Moments(moments[name].components) for name in increments}
        sums = {} if history or train.grid is None else dict.fromkeys(targets, np.zeros(()))
        for positions, block in train.blocks((*specs, *(("mask",) if train.grid is None else ()))):
            mask = block.pop("mask", None)
            for name, values in block.items():
                finite(name, values, positions)
                valid = mask if specs[name].role == "field" else None
                if valid is not None and specs[name].time:
                    valid = np.broadcast_to(valid[:, None], (*values.shape[:2], valid.shape[1]))
                moments[name].add(values, valid)
                if name in increments:
                    moments[f"Δ{name}"].add(np.diff(values, axis=1), None if valid is None else valid[:, 1:])
                if name in sums:
                    sums[name] = sums[name] + values.sum(0, np.float64)
        return cls(
            inputs=fields,
            parameters=tuple(n for n in inputs if specs[n].role == "parameter"),
            targets=targets,
            history=history,
            predict=predict,
            grid=train.grid,
            specs=tuple(specs.items()),
            normalizers={label: m.normalizer() for label, m in moments.items()},
            means={n: jnp.asarray(total / len(train), jnp.float32) for n, total in sums.items()},
        )

    @classmethod
    def of(cls, problem: Problem, grid: Grid | int) -> "Task":
        """The task that a problem declares, without data: its parameters as inputs, its unknowns as targets, no scaling."""
        grid = grid if isinstance(grid, Grid) else problem.box.grid(grid)
        specs = {n: FieldSpec("field" if d.is_field else "parameter") for n, d in problem.laws.items()}
        inputs = tuple(n for n in specs if specs[n].role == "field")
        specs |= dict.fromkeys(problem.unknowns, FieldSpec())
        return cls(
            inputs=inputs,
            parameters=tuple(n for n in problem.laws if n not in inputs),
            targets=tuple(problem.unknowns),
            history=0,
            predict="value",
            grid=grid,
            specs=tuple(specs.items()),
            normalizers={n: Normalizer(jnp.zeros(1), jnp.ones(1)) for n in specs},
            means={},
        )

    # Shapes ----------------------------------------------------------------------------------------------------------

    def spec(self, name: str) -> FieldSpec:
        return dict(self.specs)[name]

    def is_field(self, name: str) -> bool:
        return name in dict(self.specs) and self.spec(name).role == "field"

    def is_timed(self, name: str) -> bool:
        return name in dict(self.specs) and self.spec(name).time

    @property
    def in_channels(self) -> int:
        """Channels of `Inputs.fields`; a timed field counts once per frame of history."""
        return sum(self.spec(n).channels * (self.history if self.spec(n).time else 1) for n in self.inputs)

    @property
    def in_params(self) -> int:
        return sum(self.spec(n).channels for n in self.parameters)

    @property
    def out_channels(self) -> int:
        return sum(self.spec(n).channels for n in self.targets)

    @property
    def uniform_grid(self) -> Grid:
        """`grid`, or a `ValueError` for tasks on point clouds."""
        if self.grid is None:
            raise ValueError(f"this needs a uniform grid; {self!r} lives on point clouds")
        return self.grid

    @property
    def ndim(self) -> int | None:
        """Space dimensions of the grid, None for point clouds."""
        return None if self.grid is None else self.grid.ndim

    def names(self) -> tuple[str, ...]:
        """Every array of a dataset that training needs."""
        return tuple(n for n, _ in self.specs) + (_CLOUD if self.grid is None else ())

    def check(self, dataset: Dataset):
        """Raise if the dataset cannot serve this task, saying what differs."""
        for name, spec in self.specs:
            found = dataset.spec(name)
            if (found.role, found.components, found.time) != (spec.role, spec.components, spec.time):
                raise ValueError(f"field {name!r} of the dataset is {found}, but the task was fitted on {spec}")
        if (dataset.grid is None) != (self.grid is None):
            raise ValueError("the task and the dataset must both live on grids or both on point clouds")
        if self.grid is not None and (dataset.grid.box, dataset.grid.layouts) != (self.grid.box, self.grid.layouts):
            raise ValueError(f"the task was fitted on {self.grid}, the dataset lives on {dataset.grid}")
        if self.history and dataset.instants <= self.history:
            raise ValueError(f"{dataset.instants} instants are too few for history={self.history} and one to predict")

    def grid_of(self, fields: Fields) -> Grid:
        """The grid of a sample, from the shape of its first input field (that of the training data without one)."""
        if not self.inputs:
            return self.uniform_grid
        name = self.inputs[0]
        first = int(self.spec(name).time)
        return replace(self.uniform_grid, shape=tuple(fields[name].shape[first : first + self.uniform_grid.ndim]))

    def weights(self, fields: Fields, at: Grid | None = None) -> Float[Array, "*space"]:
        """Quadrature weights of a sample's points; zero where a point cloud is padded."""
        if self.grid is None:
            return jnp.asarray(fields["weights"])
        return jnp.asarray((at or self.grid_of(fields)).weights, jnp.float32)

    # One sample to arrays and back -----------------------------------------------------------------------------------

    def pack(self, fields: Fields, at: Grid | None = None) -> Inputs:
        """A sample in physical units, without sample axis, as network inputs; timed inputs are `(history, …)`."""
        parts = [self._channels(name, fields[name], self.history) for name in self.inputs]
        numbers = [self.normalizers[n].encode(jnp.atleast_1d(fields[n])) for n in self.parameters]
        if self.grid is None:
            query, mask = jnp.asarray(fields["points"]), jnp.asarray(fields["mask"])
        else:
            grid, mask = at or self.grid_of(fields), None
            lower, extent = np.array(grid.box.lower), np.array(grid.box.extent)
            query = jnp.asarray((grid.points - lower) / extent, jnp.float32)
        return Inputs(
            fields=jnp.concatenate(parts, -1) if parts else None,
            params=jnp.concatenate(numbers) if numbers else None,
            query=query,
            mask=mask,
        )

    def pack_targets(self, fields: Fields) -> Float[Array, "*space c"]:
        """The targets of a sample, `(*space, out_channels)`, in physical units: of an autoregressive sample the frame
        that follows the `history`."""
        return jnp.concatenate([self._with_channels(n, self._next(n, fields)) for n in self.targets], -1)

    def encode_targets(self, y: Float[Array, "*space c"]) -> Float[Array, "*space c"]:
        """`pack_targets` normalised: what a network for steady values should put out."""
        mean, std = (jnp.concatenate([getattr(self.normalizers[n], f) for n in self.targets]) for f in ("mean", "std"))
        return (y - mean) / std

    def unpack(self, y: Float[Array, "*space c"], fields: Fields) -> dict[str, Array]:
        """Network output to named fields in physical units."""
        if y.shape[-1] != self.out_channels:
            raise ValueError(f"the network returned shape {y.shape}, expected (*space, {self.out_channels})")
        result, start = {}, 0
        for name in self.targets:
            spec = self.spec(name)
            value = y[..., start : start + spec.channels]
            start += spec.channels
            if self.predict == "delta":
                last = self._with_channels(name, fields[name][self.history - 1])
                value = last + self.normalizers[f"Δ{name}"].decode(value)
            else:
                value = self.normalizers[name].decode(value)
            result[name] = value if spec.components else value[..., 0]
        return result

    def stack(self, named: Fields) -> Float[Array, "*space c"]:
        """Named target fields of one instant as one array with channels."""
        return jnp.concatenate([self._with_channels(n, named[n]) for n in self.targets], -1)

    def advance(self, fields: Fields, predicted: Fields) -> Fields:
        """The window of an autoregressive sample moved on by one frame."""
        moved = dict(fields)
        for name in self.targets:
            moved[name] = jnp.concatenate([fields[name][1 : self.history], predicted[name][None]])
        return moved

    def _next(self, name: str, fields: Fields):
        return fields[name][self.history] if self.history else fields[name]

    def _with_channels(self, name: str, value):
        return value if self.spec(name).components else value[..., None]

    def _channels(self, name: str, value, frames: int):
        value = jnp.asarray(value, jnp.float32)
        encoded = self.normalizers[name].encode(self._with_channels(name, value))
        if not self.spec(name).time:
            return encoded
        encoded = jnp.moveaxis(encoded[:frames], 0, -2)
        return encoded.reshape(*encoded.shape[:-2], -1)

    def __repr__(self) -> str:
        mode = f"autoregressive, history {self.history}, predicts the {self.predict}" if self.history else "steady"
        where = self.grid if self.grid is not None else "point clouds"
        return f"Task({', '.join(self.inputs + self.parameters) or 'nothing'} → {', '.join(self.targets)}; {mode}; {where})"
