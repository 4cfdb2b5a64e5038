"""Commands that mend, as they are on this site.

In embedded mode `serve` runs everything; otherwise each machine has a part, and the servers are not the site's own.
"""

from django.conf import settings

START_COMMAND = "make run" if settings.EMBEDDED else "python manage.py serve"
START_WORKER = START_COMMAND if settings.EMBEDDED else "python manage.py serve --no-web"
FIND_DATABASE, FIND_BROKER = (
    START_COMMAND if settings.EMBEDDED else f"start the server, or correct {name}"
    for name in ("DATABASE_URL", "REDIS_URL")
)
