"""The full system whose parts are matrices: products and sparse factorisations by SciPy."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from .abstract_full_order import AbstractFullOrder


class FullOrderOfMatrices(AbstractFullOrder):
    """Products and solves with sparse matrices A_q, `matrices`; X is factorised once, A(θ) for every solve."""

    def __init__(self, system, reference):
        super().__init__(system, reference)
        self.matrices = [sp.csc_array(a) for a in system.operators]
        self._factors = splu(self._sum(reference))

    def products(self, vector):
        return np.stack([a @ vector for a in self.matrices])

    def riesz(self, functionals):
        return self._factors.solve(functionals.T).T

    def solve(self, theta, phi):
        matrix, b = self._sum(theta), phi @ self.rhs
        factors = splu(matrix)
        u = factors.solve(b)
        return u + factors.solve(b - matrix @ u)  # one refinement: the factorisation is stable only normwise

    def _sum(self, theta):
        return sp.csc_array(sum(t * a for t, a in zip(theta, self.matrices, strict=True)))
