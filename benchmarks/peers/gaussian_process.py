"""scikit-learn's Gaussian process on samples from a file, a fit for every line with the path of one on the standard input.

Runs in the peer environment (`benchmarks/peers/requirements-reduced.txt`), never in that of this library. A file holds `z` (n,
d), `c` (n, m) and `unseen` (k, d), standardised; the answer is JSON with `mean` and `std`, both (k, m).
"""

import json
import sys
import warnings

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

LENGTHS = 1e-3, 1e4

warnings.simplefilter("ignore")  # of bounds that are met
for line in sys.stdin:
    case = np.load(line.strip())
    z, c = case["z"], case["c"]
    lengths, fits = np.ones(z.shape[1]), []
    for correlation in (Matern(lengths, LENGTHS, nu=2.5), RBF(lengths, LENGTHS)):
        kernel = ConstantKernel(1.0, (1e-3, 1e8)) * correlation + WhiteKernel(1e-4, (1e-12, 1e2))
        process = GaussianProcessRegressor(
            kernel, alpha=1e-12, normalize_y=True, n_restarts_optimizer=5, random_state=0
        )
        fits.append(process.fit(z, c))
    found = max(fits, key=lambda fit: fit.log_marginal_likelihood_value_)
    mean, std = (np.asarray(x).reshape(len(case["unseen"]), -1) for x in found.predict(case["unseen"], return_std=True))
    print(json.dumps({"mean": mean.tolist(), "std": std.tolist()}), flush=True)
