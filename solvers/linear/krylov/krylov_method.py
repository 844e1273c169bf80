"""What the Krylov methods have in common: a recurrence, a preconditioner, and the driver that runs them."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from ..driver import Recurrence, iterate
from ..method import check_steps
from ..preconditioning import AbstractPreconditioned
from ..solution import Stats


class AbstractKrylov(AbstractPreconditioned):
    """A method given by its `recurrence`, with an optional preconditioner."""

    history: eqx.AbstractVar[bool]

    def __check_init__(self):
        check_steps(self)

    @abc.abstractmethod
    def recurrence(self, operator) -> Recurrence:
        """The iteration for `operator`, of a bound method."""

    def __call__(
        self, operator, b: Float[Array, "..."], x0: Float[Array, "..."], tolerance: Float[Array, ""]
    ) -> tuple[Float[Array, "..."], Stats]:
        return iterate(self, self.recurrence(operator), operator, b, x0, tolerance, self.history)
