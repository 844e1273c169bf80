"""`Inputs`, the arrays that a network is called with."""

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ...core.domains import Edges, Sites
from ...core.storage import register


@register("FieldValues")
class FieldValues(eqx.Module):
    """Input fields that share a domain.

    **Fields:** `values` `(*space, c)`, the normalised values of all fields as channels; `sites`, their points, weights, mask and
    edges.

    **Example:**

        >>> sx.FieldValues(jnp.ones((16, 1)), ds.grid.sites()).values.shape
        (16, 1)
    """

    values: Float[Array, "*space c"]
    sites: Sites


@register("Inputs")
class Inputs(eqx.Module):
    """All that a network is given of one sample. In a batch every array has a leading sample axis.

    **Fields:**

    - `sources`: the input fields, one `FieldValues` per domain, in the order of `Signature.sources`; empty without input fields.
    - `params` `(p,)`: the normalised parameters of the sample; None without parameters.
    - `query`: the sites at which the output is wanted.

    Coordinates are scaled to [0, 1] along every axis of a box; on clouds and meshes the box of all training points is, by one
    factor for all axes.

    **Example:**

        >>> inputs = sx.Inputs((), None, ds.grid.sites())
        >>> inputs.fields is None, inputs.query.points.shape
        (True, (16, 1))
    """

    sources: tuple[FieldValues, ...]
    params: Float[Array, "*batch p"] | None
    query: Sites

    @property
    def fields(self) -> Float[Array, "*space c"] | None:
        """The normalised input fields as channels, `(*space, c)`; None without input fields.

        **Raises:** `ValueError` if the input fields are on several domains; read `sources` then.
        """
        if len(self.sources) > 1:
            raise ValueError(
                f"the input fields live on {len(self.sources)} domains; this network reads `inputs.fields`, which is for one: "
                "read `inputs.sources`"
            )
        return self.sources[0].values if self.sources else None

    @property
    def mask(self) -> Bool[Array, "*space"] | None:
        """True at real query points, False at padded ones; None if all are real."""
        return self.query.mask

    @property
    def edges(self) -> tuple[Edges, ...]:
        """Sets of edges between the query points; empty on grids and clouds."""
        return self.query.edges
