"""One name for the trained directions of several space dimensions."""

from ...core.storage import register
from ...solvers.linear.preconditioning import AbstractPreconditioner
from .multilevel_direction import BoundDirection, MultilevelDirection


@register("DirectionFamily")
class DirectionFamily(AbstractPreconditioner):
    """The member of the operator's dimension: `bind(operator)` is `members[i].bind(operator)`.

    **Arguments:** `members`: directions of different `dim`.

    `bind` raises `ValueError` where no member fits.
    """

    members: tuple[MultilevelDirection, ...]

    def bind(self, operator) -> BoundDirection:
        dim = len(operator.in_structure().shape)
        for member in self.members:
            if member.dim == dim:
                return member.bind(operator)
        raise ValueError(
            f"DirectionFamily: trained for {[m.dim for m in self.members]} space dimensions, not for {dim}"
        )
