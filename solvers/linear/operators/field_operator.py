"""`AbstractFieldOperator`: the base class of square linear operators on one real grid field.

It implements lineax's `AbstractLinearOperator` (`as_matrix`, `out_structure`) and registers the answers to lineax's queries
(`lx.is_symmetric`, `lx.diagonal`, …).
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float


class AbstractFieldOperator(lx.AbstractLinearOperator):
    """A square linear operator on real fields `(*n)`, one system.

    A subclass gives `mv`, `transpose`, `diagonal`, `in_structure` and `symmetric` (whether A = Aᵀ, known without looking at
    array values). Sums, multiples, products and tags of lineax then work with it: `A + B`, `2.0 * A`, `A @ B`,
    `lx.TaggedLinearOperator(A @ A, lx.symmetric_tag)`. A product is not known to be symmetric unless it is tagged, and
    its diagonal is that of the dense matrix (n² numbers).

    **Example:**

        >>> isinstance(A, sx.linear.AbstractFieldOperator)
        True
    """

    symmetric: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def diagonal(self) -> Float[Array, "..."]:
        """The diagonal of the matrix, as a field."""

    def as_matrix(self) -> Float[Array, "m m"]:
        structure = self.in_structure()
        eye = jnp.eye(structure.size, dtype=structure.dtype)
        return jax.vmap(lambda e: self.mv(e.reshape(structure.shape)).ravel(), out_axes=1)(eye)

    def out_structure(self):
        return self.in_structure()


def untagged(operator):
    """The operator inside of lineax's tags."""
    while isinstance(operator, lx.TaggedLinearOperator):
        operator = operator.operator
    return operator


@lx.is_symmetric.register(AbstractFieldOperator)
def _(operator):
    return operator.symmetric


# Definiteness is a matter of values, and the other structures are not looked for: their answer is "not known".
for _query in (
    lx.is_positive_semidefinite,
    lx.is_negative_semidefinite,
    lx.is_diagonal,
    lx.is_tridiagonal,
    lx.has_unit_diagonal,
    lx.is_lower_triangular,
    lx.is_upper_triangular,
):
    _query.register(AbstractFieldOperator, lambda operator: False)


@lx.diagonal.register(AbstractFieldOperator)
def _(operator):
    return operator.diagonal().ravel()


@lx.linearise.register(AbstractFieldOperator)
@lx.conj.register(AbstractFieldOperator)
def _(operator):
    return operator


@lx.materialise.register(AbstractFieldOperator)
def _(operator):
    structure = operator.in_structure()
    matrix = operator.as_matrix().reshape(2 * structure.shape)
    return lx.PyTreeLinearOperator(matrix, structure, lx.symmetric_tag if operator.symmetric else ())
