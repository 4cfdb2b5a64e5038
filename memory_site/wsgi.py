"""The web server's entry point."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
# A request may not wait for ever on one statement; commands and workers may.
os.environ.setdefault("STATEMENT_TIMEOUT", "10")
os.environ.setdefault("PG_POOL", "1")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
