"""Maintenance of the database: what is due is done, the rest is named with the command that mends it, and a score."""
