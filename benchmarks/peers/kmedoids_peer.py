"""FasterPAM of the kmedoids package on a matrix from a file, a run for every line of medoids on the standard input.

Runs in the peer environment (`benchmarks/peers/requirements-reduced.txt`), never in that of this library. A line reads
`THREADS M_1 M_2 …`, the answer `SECONDS COST SWAPS`.

    python benchmarks/peers/kmedoids_peer.py MATRIX.npy
"""

import sys
import time

import kmedoids
import numpy as np

matrix = np.load(sys.argv[1])
for line in sys.stdin:
    threads, *start = map(int, line.split())
    begin = time.perf_counter()
    found = kmedoids.fasterpam(matrix, np.array(start, np.uint64), n_cpu=threads)
    print(time.perf_counter() - begin, found.loss, found.n_swap, flush=True)
