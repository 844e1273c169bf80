"""What a network sees of one sample."""

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ...core.domains import Edges, Sites
from ...core.storage import register


@register("FieldValues")
class FieldValues(eqx.Module):
    """Normalised values `(*space, c)` of input fields at their sites."""

    values: Float[Array, "*space c"]
    sites: Sites


@register("Inputs")
class Inputs(eqx.Module):
    """What a network sees of one sample; a batch has a leading axis on every array.

    **Fields:**

    - `sources`: values of the input fields with their sites, one entry per domain on which inputs live, in the order of
      `Signature.sources`; empty without input fields.
    - `params` `(p,)`: normalised numbers of the sample, None without any.
    - `query`: the sites at which output is wanted. Coordinates are scaled to [0, 1] per axis of a box, where there is one.
    """

    sources: tuple[FieldValues, ...]
    params: Float[Array, "*batch p"] | None
    query: Sites

    @property
    def fields(self) -> Float[Array, "*space c"] | None:
        """Values of the input fields where all of them live on one domain; None without input fields.

        **Raises:** `ValueError` where they live on several.
        """
        if len(self.sources) > 1:
            raise ValueError(
                f"the input fields live on {len(self.sources)} domains; this network reads `inputs.fields`, which is for one: "
                "read `inputs.sources`"
            )
        return self.sources[0].values if self.sources else None

    @property
    def mask(self) -> Bool[Array, "*space"] | None:
        """True at the real points of the query; None where all are."""
        return self.query.mask

    @property
    def edges(self) -> tuple[Edges, ...]:
        """Sets of edges between the points of the query."""
        return self.query.edges
