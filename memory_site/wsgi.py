"""The web server's entry point."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
# Bounded for requests only: commands and workers may wait. A blank variable counts as unset.
for name, value in {"STATEMENT_TIMEOUT": "10", "PG_POOL": "1"}.items():
    os.environ[name] = os.environ.get(name) or value

from django.core.wsgi import get_wsgi_application  # noqa: E402  (the settings read the variables above)

from memory_site.core.http.middleware import keep_raw_path  # noqa: E402

application = keep_raw_path(get_wsgi_application())
