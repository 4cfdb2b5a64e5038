"""Measurements of performance: what adapters and workflows need, which fail, which stand out."""
