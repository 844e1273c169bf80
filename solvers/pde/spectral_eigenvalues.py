"""The eigenvalues of −Δ on a box, of the eigenfunctions that the fast transforms use."""

import numpy as np
from jaxtyping import Float

from ...core.domains import Box

# |k| of the orthogonal eigenfunctions of −d²/dx² with n unknowns, in the order of the transforms.
_WAVENUMBERS = {
    "dirichlet": lambda n, length: np.pi / length * np.arange(1, n + 1),
    "neumann": lambda n, length: np.pi / length * np.arange(n),
    "periodic": lambda n, length: 2 * np.pi / length * np.minimum(np.arange(n), n - np.arange(n)),
}


def squared_wavenumbers(box: Box, shape: tuple[int, ...]) -> Float[np.ndarray, "*unknowns"]:
    """|k|² of every mode of `shape` unknowns."""
    squares = np.zeros(())
    for condition, length, n in zip(box.conditions, box.extent, shape, strict=True):
        squares = squares[..., None] + _WAVENUMBERS[condition](n, length) ** 2
    return squares
