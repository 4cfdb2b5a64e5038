"""Memory Site: how the pieces are joined."""

from memory_site.celery import app as celery_app

__all__ = ["celery_app"]
