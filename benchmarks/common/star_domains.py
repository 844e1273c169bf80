"""`surrogax.datasets.star_domains`, kept in files."""

from pathlib import Path

import numpy as np

import surrogax as sx
from surrogax.datasets.star_domains import Samples, star_domains


def kept_samples(file: Path, n: int, sizes: tuple[int, ...], seed: int) -> Samples:
    """`star_domains`, kept in an npz file together with what they were asked by, so that they are made once."""
    asked = repr((n, sizes, seed))
    if file.exists():
        with np.load(file) as kept:
            if str(kept["asked"]) != asked:
                raise ValueError(f"{file} holds samples of {kept['asked']}, not of {asked}; delete it")
            cloud = sx.PointCloud(kept["points"], kept["weights"], kept["mask"])
            fields = {"f": kept["f"], "d": kept["d"]}
            return Samples(sx.from_arrays(fields, {"u": kept["u"]}, points=cloud), float(kept["error"]))
    found = star_domains(n, sizes, seed)
    arrays = {name: found.data[name] for name in (*"fdu", "points", "weights", "mask")}
    np.savez(file, asked=asked, error=found.label_error, **arrays)
    return found
