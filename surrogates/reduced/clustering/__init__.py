"""Clusters of snapshots: dissimilarities, k-medoids, k-means, silhouettes."""
