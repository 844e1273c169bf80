"""Regression of reduced coefficients: Gaussian process, radial functions, ridge, network."""
