"""What operators on grids share around their blocks: channels in, space reversed in front, padding, and back."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.arguments import count
from ...core.domains import Grid
from ..task.inputs import Inputs
from ..task.signature import Signature

Modes = int | tuple[int, ...]


def check_modes(name: str, modes: Modes) -> None:
    """**Raises:** `TypeError` or `ValueError`, which begin with `name`, unless the numbers of modes are whole and positive."""
    for m in (modes,) if isinstance(modes, int) else modes:
        count(name, "modes", m)


def grid_channels(inputs: Inputs, dtype) -> Float[Array, "b *space c"]:
    """Input fields, parameters as constant channels, and coordinates of a batch."""
    points = inputs.query.points
    batch, *space, _ = points.shape
    parts = [] if inputs.fields is None else [inputs.fields]
    if inputs.params is not None:
        params = inputs.params.reshape(batch, *(1,) * len(space), -1)
        parts.append(jnp.broadcast_to(params, (batch, *space, params.shape[-1])))
    return jnp.concatenate([part.astype(dtype) for part in (*parts, jnp.asarray(points))], -1)


@dataclass(frozen=True)
class GridFrame:
    """The grid of a task, the number of channels that a network reads there, and the zero padding after the domain.

    Inside, arrays are `(*reversed space, batch, channels)`, the layout of `kernels.spectral_product`. The padded period is
    (1 + padding) times the box at every resolution.
    """

    grid: Grid
    channels: int
    padding: float

    @classmethod
    def of(cls, name: str, signature: Signature, padding: float) -> "GridFrame":
        """**Raises:** `ValueError`, which begins with `name`, unless all fields live on one grid of one to three dimensions."""
        grid = signature.domain.as_grid(name)
        if not 1 <= grid.ndim <= 3:
            raise ValueError(f"{name}: 1 to 3 dimensions, the task has {grid.ndim}")
        for source in signature.sources:
            if source.domain != grid:
                raise ValueError(
                    f"{name}: the inputs live on {source.domain!r}, the targets on {grid!r}; {name} needs all fields on one grid"
                )
        return cls(grid, signature.in_channels + signature.params + grid.ndim, padding)

    @property
    def ndim(self) -> int:
        return self.grid.ndim

    def per_axis(self, name: str, modes: Modes) -> tuple[int, ...]:
        """The number of modes of every axis. **Raises:** `ValueError`, which begins with `name`, for those of other axes."""
        found = (modes,) * self.ndim if isinstance(modes, int) else modes
        if len(found) != self.ndim:
            raise ValueError(f"{name}: modes={modes} for a task with {self.ndim} dimensions")
        return found

    def reversed_channels(self, inputs: Inputs, dtype) -> Float[Array, "*reversed b c"]:
        """`grid_channels` in the layout of this frame."""
        x = grid_channels(inputs, dtype)
        return jnp.transpose(x, (*range(1, self.ndim + 1)[::-1], 0, self.ndim + 1))

    def padded(self, v: Float[Array, "*reversed b c"]) -> Float[Array, "*padded b c"]:
        widths = []
        for n, layout in zip(v.shape[: self.ndim], self.grid.layouts[::-1], strict=True):
            nodes = layout == "nodes"
            after = round(self.padding * (n - nodes)) - nodes if self.padding else 0
            widths.append((0, max(after, 0)))
        return jnp.pad(v, [*widths, (0, 0), (0, 0)])

    def cropped(self, v: Float[Array, "*padded b c"], shape: tuple[int, ...]) -> Float[Array, "*reversed b c"]:
        return v[tuple(slice(0, n) for n in shape)]

    def restored(self, y: Float[Array, "*reversed b c"]) -> Float[Array, "b *space c"]:
        d = self.ndim
        return jnp.transpose(y, (d, *range(d)[::-1], d + 1))
