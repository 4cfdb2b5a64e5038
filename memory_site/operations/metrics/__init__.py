"""`/metrics`: what processes have counted (`memory_site.core.metrics`), and what the store knows of itself."""
