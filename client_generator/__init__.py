"""Writes the generated modules of `memory_client`, and needs none of them, not even when a merge left them broken."""
