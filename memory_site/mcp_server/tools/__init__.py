"""The tools of each profile."""
