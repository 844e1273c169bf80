"""Reduced bases of parametrised equations: full order, Galerkin projection, residual and coercivity bounds, greedy."""
