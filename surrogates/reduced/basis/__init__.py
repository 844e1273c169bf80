"""Bases of snapshots: inner products, truncation, proper orthogonal decomposition."""
