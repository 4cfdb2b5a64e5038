"""The web server's entry point."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
# Bounded for requests only: commands and workers may wait. A blank variable counts as unset.
for name, value in {"STATEMENT_TIMEOUT": "10", "PG_POOL": "1"}.items():
    os.environ[name] = os.environ.get(name) or value

from django.core.wsgi import get_wsgi_application  # noqa: E402  (the settings read the variables above)

application = get_wsgi_application()
