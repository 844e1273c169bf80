"""What a network is built from: the sizes and domains of its inputs and outputs, without names or statistics."""

from dataclasses import dataclass

from ...core.domains import AbstractDomain
from ...core.storage import register


@register("SourceSignature")
@dataclass(frozen=True)
class SourceSignature:
    """Input fields that share a domain: their channels together, and the domain."""

    channels: int
    domain: AbstractDomain


@register("Signature")
@dataclass(frozen=True)
class Signature:
    """All that a network may know of a learning problem.

    **Fields:**

    - `sources`: channels and domain of every set of input fields.
    - `params`: numbers per sample.
    - `out_channels`: channels per query point.
    - `domain`: where the output is asked for, with its dimension, layouts and capacities.
    """

    sources: tuple[SourceSignature, ...]
    params: int
    out_channels: int
    domain: AbstractDomain

    @property
    def in_channels(self) -> int:
        """Channels of `Inputs.fields`. **Raises:** `ValueError` where inputs live on several domains."""
        if len(self.sources) > 1:
            raise ValueError(f"the input fields live on {len(self.sources)} domains; read `signature.sources`")
        return sum(source.channels for source in self.sources)

    @property
    def ndim(self) -> int:
        """Number of coordinates of a query point."""
        return self.domain.ndim
