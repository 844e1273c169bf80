"""`Signature`: the sizes and domains of a network's inputs and outputs, from which a network is built."""

from dataclasses import dataclass

from ...core.domains import AbstractDomain
from ...core.storage import register


@register("SourceSignature")
@dataclass(frozen=True)
class SourceSignature:
    """The form of input fields that share a domain.

    **Fields:** `channels`, the sum over the fields; `domain`, where they live; `repeated`, whether the values are the same at
    every index of the first axis, as in space-time tasks, where the inputs are given at every instant.
    """

    channels: int
    domain: AbstractDomain
    repeated: bool = False


@register("Signature")
@dataclass(frozen=True)
class Signature:
    """All that a network may know of a learning problem; names, units and statistics are not part of it.

    **Fields:**

    - `sources`: channels and domain of the input fields, one entry per domain.
    - `params`: number of parameters per sample.
    - `out_channels`: number of output channels per query point.
    - `domain`: the domain of the query points, with its dimension and number of points.

    **Example:**

        >>> task.signature.in_channels, task.signature.out_channels, task.signature.ndim
        (1, 1, 1)
    """

    sources: tuple[SourceSignature, ...]
    params: int
    out_channels: int
    domain: AbstractDomain

    @property
    def in_channels(self) -> int:
        """Number of channels of `Inputs.fields`. **Raises:** `ValueError` if the input fields are on several domains."""
        if len(self.sources) > 1:
            raise ValueError(f"the input fields live on {len(self.sources)} domains; read `signature.sources`")
        return sum(source.channels for source in self.sources)

    @property
    def ndim(self) -> int:
        """Number of coordinates of a query point."""
        return self.domain.ndim
