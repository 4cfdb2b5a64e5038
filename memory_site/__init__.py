"""The project: settings, addresses, the API and the Celery application."""

import gc

# After Python's 700 new objects it would search for garbage hundreds of times while a process loads models and schemas,
# which all stay: a fifth of the time that it takes to start.
gc.set_threshold(10_000, *gc.get_threshold()[1:])

from memory_site.celery import app as celery_app  # noqa: E402  (which loads most of it)

__all__ = ["celery_app"]
__version__ = "0.1.0"
