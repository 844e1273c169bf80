"""`Persistence`: the last given frame as the forecast."""

import jax.numpy as jnp
from jaxtyping import Array

from ...core.arguments import check_fields
from ...core.storage import register
from ..resampling import resample
from ..surrogate import AbstractRelative, Capabilities
from ..task.task import Fields, Place, Task


@register("Persistence")
class Persistence(AbstractRelative):
    """Predicts that the next frames equal the last given one. It needs no `fit`: `Persistence(task)`.

    **Raises:** `ValueError` for a task that is not autoregressive.

    **Example:**

        >>> w = np.stack([a * t for t in range(4)], 1)          # (sample, time, x)
        >>> data = sx.from_arrays({"w": w}, grid=ds.grid, times=np.arange(4.0))
        >>> step = sx.Persistence(sx.Task.fit(data, inputs="w", targets="w", mode=sx.Autoregressive()))
        >>> step.rollout({"w": w[:2, 1:2]}, steps=3)["w"].shape
        (2, 3, 16)
    """

    task: Task

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=self.task.domain.fixed, autoregressive=True)

    def __check_init__(self):
        check_fields(self)
        if not self.task.mode.rolls_out:
            raise ValueError(f"Persistence needs an autoregressive task, not {self.task!r}")

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        fields = resample(self.task, fields, at)
        last = {name: jnp.asarray(fields[name])[self.task.mode.history - 1] for name in self.task.targets}
        frames = max(self.task.mode.ahead, 1)
        return {name: self.task.mode.named(jnp.stack([x] * frames)) for name, x in last.items()}

    def about_origin(self) -> "Persistence":
        return Persistence(self.task.about_origin())
