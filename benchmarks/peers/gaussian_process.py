"""scikit-learn's Gaussian process on samples from a file, a fit for every line with the path of one on the standard input.

Runs in the peer environment (`benchmarks/peers/requirements-reduced.txt`), never in that of this library. A file holds `z` (n,
d), `c` (n, m) and `unseen` (k, d), standardised; the answer is JSON with `mean` and `std`, both (k, m).
"""

import json
import sys
import warnings

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

warnings.simplefilter("ignore")  # of bounds that are met
for line in sys.stdin:
    case = np.load(line.strip())
    z, c = case["z"], case["c"]
    kernel = ConstantKernel(1.0, (1e-3, 1e8)) * Matern(np.ones(z.shape[1]), (1e-3, 1e4), nu=2.5) + WhiteKernel(
        1e-4, (1e-12, 1e2)
    )
    found = GaussianProcessRegressor(kernel, alpha=1e-12, normalize_y=True, n_restarts_optimizer=5, random_state=0).fit(
        z, c
    )
    mean, std = (np.asarray(x).reshape(len(case["unseen"]), -1) for x in found.predict(case["unseen"], return_std=True))
    print(json.dumps({"mean": mean.tolist(), "std": std.tolist()}), flush=True)
