"""Health checks: one for each component, in files by subject; `checks` lists them, `runner` runs them in time."""
