"""Evaluation: `evaluate`, metrics, tables, reports, figures."""
