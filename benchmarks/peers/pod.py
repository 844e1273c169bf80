"""POD of a stored matrix by pyMOR and scikit-learn, as peers for `benchmarks/pod.py`; runs in the peer environment.

Prints one JSON object: for every method the seconds of each repeat for the `--modes` leading modes, how far they are from
orthonormal, and all singular values that the method gives without tolerances.
"""

import argparse
import json
import time
from importlib.metadata import version

import numpy as np
from pymor.algorithms.pod import pod
from pymor.core.logger import set_log_levels
from pymor.vectorarrays.numpy import NumpyVectorSpace
from sklearn.utils.extmath import randomized_svd


def measure(function, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return result, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help=".npy file, a snapshot per row")
    parser.add_argument("--modes", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--slow-repeats", type=int, required=True, help="of the methods that take seconds")
    parser.add_argument(
        "--fast-only", action="store_true", help="the faster method of each library, no singular values"
    )
    arguments = parser.parse_args()
    set_log_levels({"pymor": "ERROR"})

    rows = np.load(arguments.data)
    columns = rows.T  # Fortran order: the layout in which pyMOR is fastest
    space = NumpyVectorSpace(columns.shape[0])
    vectors = space.from_numpy(columns)
    report = {"versions": {p: version(p) for p in ("pymor", "scikit-learn", "numpy")}, "methods": {}}

    def add(name, run, every, repeats):
        modes, seconds = measure(run, repeats)
        gram = modes.T @ modes
        entry = {"seconds": seconds, "orthogonality": float(np.abs(gram - np.eye(len(gram))).max())}
        if not arguments.fast_only:
            entry["values"] = np.asarray(every(), float).tolist()
        report["methods"][name] = entry

    def pymor(method, **options):
        basis, values = pod(vectors, method=method, **options)[:2]
        return (basis.to_numpy(), values)

    for method, repeats in (("method_of_snapshots", arguments.repeats), ("qr_svd", arguments.slow_repeats)):
        if method == "qr_svd" and arguments.fast_only:
            continue
        add(
            f"pymor {method}",
            lambda method=method: pymor(method, modes=arguments.modes)[0],
            lambda method=method: pymor(method, rtol=0, atol=0)[1],
            repeats,
        )
    for steps in (1,) if arguments.fast_only else (1, "auto"):

        def sketch(k, steps=steps):
            return randomized_svd(columns, k, n_oversamples=20, n_iter=steps, random_state=0)

        add(
            f"sklearn randomized_svd, n_iter={steps}",
            lambda sketch=sketch: sketch(arguments.modes)[0],
            lambda sketch=sketch: sketch(arguments.modes)[1],
            arguments.slow_repeats,
        )
    if not arguments.fast_only:
        add(
            "numpy svd",
            lambda: np.linalg.svd(columns, full_matrices=False)[0][:, : arguments.modes],
            lambda: np.linalg.svd(columns, compute_uv=False),
            1,
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
