"""`MeanField`: the mean of the training targets as a surrogate."""

from jaxtyping import Array

from ...core.arguments import check_fields
from ...core.storage import register
from ...solvers.kernels.interpolate import apply_along_axes
from ..resampling import interpolation
from ..surrogate import AbstractRelative, Capabilities
from ..task.task import Fields, Place, Task


@register("MeanField")
class MeanField(AbstractRelative):
    """Predicts the mean of the training targets for every input. It needs no `fit`: `MeanField(task)`.

    **Raises:** `ValueError` unless the task is steady, comes from `Task.fit`, and its samples share their points.
    """

    task: Task
    capabilities = Capabilities(resolution_free=True, needs_input=False, differentiable=False)

    def __check_init__(self):
        check_fields(self)
        if not self.task.means:
            raise ValueError(
                "MeanField serves steady tasks from Task.fit whose samples share their points, for example on grids"
            )

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        own = self.task.domain.as_grid("MeanField")
        target = self.task.domain_of(fields) if at is None else at
        matrices = interpolation(own, target.as_grid("MeanField"))
        return self.task.absolute({k: apply_along_axes(v, matrices) for k, v in self.task.means.items()})

    def about_origin(self) -> "MeanField":
        return MeanField(self.task.about_origin())
