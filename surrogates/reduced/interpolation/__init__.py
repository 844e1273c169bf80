"""Empirical interpolation of functions and matrices, empirical cubature, gappy POD."""
