"""Tuning of the index of the vectors: recall is measured, a candidate is built beside the index and takes its place."""
