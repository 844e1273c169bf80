"""`AbstractFitted`: what fitted surrogates with a reduced basis and regressors have in common."""

from dataclasses import replace

import equinox as eqx
from jaxtyping import Array

from ..surrogate import AbstractAtOwnPoints, AbstractProbabilistic, AbstractRanged, AbstractRelative, Capabilities
from ..trainable import Buffer
from .reduced_coordinates import Reduction


class AbstractFitted(AbstractAtOwnPoints, AbstractProbabilistic, AbstractRanged, AbstractRelative):
    """A surrogate that predicts from reduced inputs by a basis at the points of its training data.

    **Fields:** `reduction`, the reduced inputs and the points; `variances`, None without a standard deviation.
    """

    reduction: eqx.AbstractVar[Reduction]
    variances: eqx.AbstractVar[Buffer]

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resolution_free=self.own_points is None, has_std=self.variances.value is not None)

    @property
    def own_points(self) -> Array | None:
        return self.reduction.points.own

    def about_origin(self) -> "AbstractFitted":
        return replace(self, task=self.task.about_origin(), reduction=self.reduction.about_origin())
