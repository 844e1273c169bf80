"""Training without data: residuals of PDEs and samplers of collocation points."""
