"""Local bases: one POD basis per cluster, the classifier that chooses among them, and when they pay."""
