"""Adapters of memory_client beside their real frameworks, against a whole site. `make test-adapters` runs them in an
environment of their own."""
