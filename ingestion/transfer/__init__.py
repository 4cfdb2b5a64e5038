"""Lossless export of a namespace, or of one user, as JSON Lines, and its import into another namespace."""
