"""k-medoids: the swaps of `kmedoids` beside FasterPAM of the kmedoids package, on the same matrix from the same starts.

The matrix holds the sines between n moving Gaussians; k = 20; random starts. Both run in turn, each in its own process, the
peer with the number of threads that suits it best (tried before). Seconds are medians of repeats, summed over the starts,
without compilation and with the matrix in the memory of the device. Both end in local optima of single swaps, but in
different ones, so that costs are compared by the geometric mean over the starts. With blocks of one candidate ours makes
the same swaps as the peer, which is asserted first.

    python benchmarks/kmedoids.py [--quick | --smoke] [--self-only] [--peer-python PATH]

--quick: 2000 points and ten starts instead of 10000 and five; --smoke: 100 points and one. Last line: JSON.
`ratio_kmedoids` and `ratio_kmedoids_f32`, seconds of the peer over ours for a float64 and a float32 matrix; `cost_ratio`,
our cost over that of the peer (float64).
"""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.peers import REDUCED, PeerProcess
from common.record import record
from common.snapshots import moving_gaussians
from common.timing import timed

from surrogax.surrogates.reduced import kmedoids, sine

K = 20


class Size(NamedTuple):
    """How much to run."""

    points: int
    starts: int
    repeats: int


FULL = Size(10000, starts=5, repeats=5)
QUICK = Size(2000, starts=10, repeats=5)
SMOKE = Size(100, starts=1, repeats=1)


class Peer(PeerProcess):
    """The package in its own process, which holds the matrix."""

    def __init__(self, python: Path, matrix: np.ndarray, start: np.ndarray):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "matrix.npy"
            np.save(path, matrix)
            super().__init__(python, "kmedoids_peer.py", path)
            self.run(start, threads=1)  # answers once it has read the file
        seconds = {threads: self.run(start, threads)[0] for threads in {1, os.cpu_count() or 1}}
        self.threads = min(seconds, key=seconds.__getitem__)

    def run(self, start: np.ndarray, threads: int | None = None) -> tuple[float, float, int]:
        seconds, cost, swaps = self.ask(threads or self.threads, *start).split()
        return float(seconds), float(cost), int(swaps)


def ours(matrix: jax.Array, start: np.ndarray, block: int | None = None) -> tuple[float, float, int]:
    seconds, found = timed(lambda: kmedoids(matrix, K, start=start, block=block))
    return seconds, found.cost, found.iterations


def compare(
    matrix: np.ndarray, starts: np.ndarray, repeats: int, python: Path | None
) -> tuple[float | None, float | None]:
    """Seconds of the peer over ours, our cost over that of the peer; None without the peer."""
    with jax.enable_x64(matrix.dtype == np.float64):
        resident = jnp.array(matrix)
    peer = Peer(python, matrix, starts[0]) if python else None
    if peer and matrix.dtype == np.float64:
        same, reference = ours(resident, starts[0], block=1), peer.run(starts[0], threads=1)
        assert same[2] == reference[2] and abs(same[1] / reference[1] - 1) < 1e-12, (same, reference)
    ours(resident, starts[0])  # compiles
    medians = []  # of both sides: seconds, cost, swaps for every start
    for start in starts:
        turns = [[ours(resident, start), *([peer.run(start)] if peer else [])] for _ in range(repeats)]
        medians.append(np.median(turns, axis=0))
        names = ("surrogax", f"kmedoids, {peer.threads} thread(s)" if peer else "")
        for name, (seconds, cost, swaps) in zip(names, medians[-1], strict=False):
            print(
                f"{matrix.dtype!s}  {name:22}  {1e3 * seconds:9.1f} ms  cost {cost:11.5f}  {swaps:.0f} swaps",
                flush=True,
            )
    if not peer:
        print("kmedoids: not run")
        return None, None
    peer.close()
    mine, theirs = np.swapaxes(medians, 0, 1)
    return theirs[:, 0].sum() / mine[:, 0].sum(), float(np.exp(np.log(mine[:, 1] / theirs[:, 1]).mean()))


def main() -> None:
    arguments = options(__doc__, full=FULL, quick=QUICK, smoke=SMOKE, peer=REDUCED)
    size = arguments.size
    snapshots, _ = moving_gaussians(0, size.points)
    matrix = sine(snapshots)
    rng = np.random.default_rng(1)
    starts = np.stack([rng.permutation(size.points)[:K] for _ in range(size.starts)])
    ratio, cost_ratio = compare(matrix, starts, size.repeats, arguments.python)
    ratio_f32, _ = compare(matrix.astype(np.float32), starts, size.repeats, arguments.python)
    values = {"ratio_kmedoids": ratio, "ratio_kmedoids_f32": ratio_f32, "cost_ratio": cost_ratio}
    record("kmedoids", arguments, values)


if __name__ == "__main__":
    main()
