"""The Celery application. A message is only a hint: due work is stored in the database."""

import atexit
import gc
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")

app = Celery("memory_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# As in manage.py: without it, worker and beat take up to a second of processor time to end.
atexit.register(gc.freeze)
