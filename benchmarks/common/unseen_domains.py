"""Domains on which no search direction was trained: generators, sizes and parameters differ from `MixedDomains`."""

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from surrogax.core.domains import Boundary


class Domain(NamedTuple):
    """Solid points, the condition on them, and the boundaries of the axes."""

    solid: np.ndarray
    condition: Literal["dirichlet", "neumann"]
    boundaries: tuple[Boundary, ...]


def spiral(n: int, width: int) -> np.ndarray:
    """A square spiral: walls of one point, channels of `width` points."""
    solid, pitch = np.zeros((n, n), bool), width + 1
    low, high, left, right = width, n - 1 - width, width, n - 1 - width
    corners = [(width, 0)]
    while high - low > pitch and right - left > pitch:
        corners += [(low, right), (high, right), (high, left), (low + pitch, left)]
        low, left, high, right = low + pitch, left + pitch, high - pitch, right - pitch
    for (a, b), (c, d) in pairwise(corners):
        solid[min(a, c) : max(a, c) + 1, min(b, d) : max(b, d) + 1] = True
    return solid


def maze(n: int, width: int, rng) -> np.ndarray:
    """A maze by depth-first search in an n² grid: walls of one point, channels of `width`, one path between two cells."""
    pitch, cells = width + 1, (n + 1) // (width + 1)
    solid = np.ones((n, n), bool)
    for i, j in np.ndindex(cells, cells):
        solid[i * pitch : i * pitch + width, j * pitch : j * pitch + width] = False
    seen, path = np.zeros((cells, cells), bool), [(0, 0)]
    seen[0, 0] = True
    while path:
        i, j = path[-1]
        beside = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        beside = [c for c in beside if min(c) >= 0 and max(c) < cells and not seen[c]]
        if not beside:
            path.pop()
            continue
        k, m = cell = beside[rng.integers(len(beside))]
        corner = [slice(a * pitch, a * pitch + width) if a == b else max(a, b) * pitch - 1 for a, b in ((i, k), (j, m))]
        solid[tuple(corner)] = False
        seen[cell] = True
        path.append(cell)
    return solid


def rooms(shape: tuple[int, int], counts: tuple[int, int], door: int, rng) -> np.ndarray:
    """Rooms side by side; between two neighbours a wall of one point with a door of `door` points."""
    solid = np.zeros(shape, bool)
    cuts = [[round(n * (k + 1) / c) for k in range(c - 1)] for n, c in zip(shape, counts, strict=True)]
    for axis in (0, 1):
        across, along = np.moveaxis(solid, axis, 0), [0, *cuts[1 - axis], shape[1 - axis]]
        across[cuts[axis]] = True
        for cut in cuts[axis]:
            for start, end in pairwise(along):
                place = rng.integers(start + 1, end - door)
                across[cut, place : place + door] = False
    return solid


def grains(shape: tuple[int, ...], fraction: float, size: float, rng) -> np.ndarray:
    """Blobs of about `size` points that fill a fraction of the box: a level set of smooth noise."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), size, mode="wrap")
    return noise < np.quantile(noise, fraction)


def unseen_domains() -> dict[str, Domain]:
    rng = lambda: np.random.default_rng(7)  # noqa: E731
    fixed: tuple[Boundary, ...]
    fixed, free, ring = ("dirichlet", "dirichlet"), ("neumann", "neumann"), ("periodic", "dirichlet")
    plain = lambda *shape: np.zeros(shape, bool)  # noqa: E731
    x, y = np.indices((96, 160))
    disc = np.hypot(x - 38, y - 80) < 19
    space = ("dirichlet",) * 3
    few = lambda *shape: rng().random(shape) < 0.3  # noqa: E731
    return {
        "box 96×160": Domain(plain(96, 160), "dirichlet", fixed),
        "disc 96×160, u = 0": Domain(disc, "dirichlet", fixed),
        "strip 17×211": Domain(plain(17, 211), "dirichlet", fixed),
        "two rooms 64², u = 0 at the sides": Domain(rooms((64, 64), (2, 1), 1, rng()), "neumann", fixed),
        "two rooms 64², no flux": Domain(rooms((64, 64), (2, 1), 1, rng()), "neumann", free),
        "nine rooms 64², no flux": Domain(rooms((64, 64), (3, 3), 2, rng()), "neumann", free),
        "four rooms 64², walls u = 0": Domain(rooms((64, 64), (2, 2), 3, rng()), "dirichlet", fixed),
        "spiral 64², channels 3": Domain(spiral(64, 3), "neumann", fixed),
        "spiral 64², channels 5": Domain(spiral(64, 5), "neumann", fixed),
        "spiral 128², channels 4": Domain(spiral(128, 4), "neumann", fixed),
        "maze 64², channels 3, u = 0 at the sides": Domain(maze(64, 3, rng()), "neumann", fixed),
        "maze 64², channels 3, no flux": Domain(maze(64, 3, rng()), "neumann", free),
        "maze 64², channels 1, no flux": Domain(maze(64, 1, rng()), "neumann", free),
        "porous 96×160, u = 0": Domain(few(96, 160), "dirichlet", fixed),
        "porous 96×160, no flux": Domain(few(96, 160), "neumann", fixed),
        "grains 64², no flux": Domain(grains((64, 64), 0.4, 2.5, rng()), "neumann", fixed),
        "grains 64², u = 0": Domain(grains((64, 64), 0.3, 3, rng()), "dirichlet", fixed),
        "ring × u = 0, 64²": Domain(plain(64, 64), "dirichlet", ring),
        "ring × u = 0, 64², grains, no flux": Domain(grains((64, 64), 0.3, 3, rng()), "neumann", ring),
        "porous 24×32×20, u = 0": Domain(few(24, 32, 20), "dirichlet", space),
        "porous 24×32×20, no flux": Domain(few(24, 32, 20), "neumann", space),
    }


def parts(domain: Domain) -> np.ndarray:
    """The number of the connected part of every fluid point, from 1 on; 0 at solid ones."""
    found, _ = ndimage.label(~domain.solid)
    for axis in (a for a, b in enumerate(domain.boundaries) if b == "periodic"):
        first, last = np.take(found, 0, axis), np.take(found, -1, axis)
        while (meets := (first > 0) & (last > 0) & (first != last)).any():
            found[found == last[meets][0]] = first[meets][0]
            first, last = np.take(found, 0, axis), np.take(found, -1, axis)
    return found


def consistent(b: np.ndarray, domain: Domain, shift: np.ndarray) -> np.ndarray:
    """b with mean zero on every part of the domain that touches no wall u = 0, and zero at solid points."""
    labels = parts(domain)
    count = labels.max() + 1
    held = np.bincount(labels.ravel(), shift.ravel(), count) > 0
    means = np.bincount(labels.ravel(), b.ravel(), count) / np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    return np.where(domain.solid, 0, b - np.where(held, 0, means)[labels])
