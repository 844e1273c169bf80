"""`MeanField`: the mean of the training targets as a surrogate."""

from jaxtyping import Array

from ...core.arguments import check_fields
from ...core.storage import register
from ...solvers.kernels.interpolate import apply_along_axes
from ..resampling import interpolation
from ..shared_points import nan_unless_same
from ..surrogate import AbstractAtOwnPoints, AbstractRelative, Capabilities
from ..task.task import Fields, Place, Task


@register("MeanField")
class MeanField(AbstractAtOwnPoints, AbstractRelative):
    """Predicts the mean of the training targets for every input. It needs no `fit`: `MeanField(task)`.

    **Raises:** `ValueError` unless the task is steady, comes from `Task.fit`, and its samples share their points.

    **Example:**

        >>> mean = sx.MeanField(task)
        >>> bool(np.allclose(mean.predict(ds[:1])["u"][0], ds["u"].mean(0), atol=1e-5))
        True
    """

    task: Task

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=self.task.domain.fixed, needs_input=False, differentiable=False)

    def __check_init__(self):
        check_fields(self)
        if not self.task.means:
            raise ValueError(
                "MeanField serves steady tasks from Task.fit whose samples share their points, for example on grids"
            )

    @property
    def own_points(self) -> Array | None:
        return None if self.task.domain.fixed else self.task.means[self.task.domain.arrays[0]]

    def __call__(self, fields: Fields, at: Place | None = None) -> dict[str, Array]:
        means = {name: self.task.means[name] for name in self.task.targets}
        if self.task.domain.fixed:
            own, target = self.task.domain.as_grid("MeanField"), self.task.domain_of(fields) if at is None else at
            matrices = interpolation(own, target.as_grid("MeanField"))
            return self.task.absolute({k: apply_along_axes(v, matrices) for k, v in means.items()})
        if at is not None:
            raise ValueError(f"at={at!r}: on clouds and meshes MeanField predicts at the points of the data only")
        points, _, mask = self.task.domain.arrays[:3]
        if points in fields:
            same = nan_unless_same(self.task.means[points], fields.get(mask), fields[points])
            means = {k: v * same for k, v in means.items()}
        return self.task.absolute(means)

    def about_origin(self) -> "MeanField":
        return MeanField(self.task.about_origin())
