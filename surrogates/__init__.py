"""Surrogates: models that predict the solution fields of a PDE from its inputs, with training and evaluation."""
