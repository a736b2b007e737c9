"""Replication of two Mixture-of-Experts papers as one reproducible pipeline."""
