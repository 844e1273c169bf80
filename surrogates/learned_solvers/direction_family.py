"""`DirectionFamily`: trained search directions for several space dimensions as one."""

from ...core.storage import register
from ...solvers.linear.preconditioning import AbstractPreconditioner
from .multilevel_direction import BoundDirection, MultilevelDirection


@register("DirectionFamily")
class DirectionFamily(AbstractPreconditioner):
    """Search directions for several space dimensions. `bind` uses the member that has the dimension of the operator.

    **Arguments:** `members`: trained directions with different `dim`.
    """

    members: tuple[MultilevelDirection, ...]

    def bind(self, operator) -> BoundDirection:
        """The direction for this operator. **Raises:** `ValueError` if no member has its dimension."""
        dim = len(operator.in_structure().shape)
        for member in self.members:
            if member.dim == dim:
                return member.bind(operator)
        raise ValueError(
            f"DirectionFamily: trained for {[m.dim for m in self.members]} space dimensions, not for {dim}"
        )
