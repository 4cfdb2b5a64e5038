"""The web server's entry point."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memory_site.settings")
# Bounded for requests only: commands and workers may wait. A blank variable counts as unset.
for name, value in {"STATEMENT_TIMEOUT": "10", "PG_POOL": "1"}.items():
    os.environ[name] = os.environ.get(name) or value

from django.core.wsgi import get_wsgi_application  # noqa: E402  (the settings read the variables above)

from memory_site.core.logs.context import WEB, set_process_kind  # noqa: E402

set_process_kind(WEB)
django_application = get_wsgi_application()

from memory_site.core.db.replicas import replicas  # noqa: E402
from memory_site.core.http.middleware import keep_raw_path  # noqa: E402
from memory_site.core.http.overload import AdmissionLayer, admission  # noqa: E402
from memory_site.core.tracing.setup import start_tracing  # noqa: E402
from memory_site.operations.heartbeats import start_web_heartbeat  # noqa: E402
from memory_site.operations.metrics.sampler import start_web_sampler  # noqa: E402
from sessions_app.auth import find_known_namespace  # noqa: E402  (its models need the application)

application = AdmissionLayer(
    keep_raw_path(django_application),
    admission,
    lambda environ: find_known_namespace(environ.get("HTTP_AUTHORIZATION", "")),
)

start_tracing(WEB)
start_web_heartbeat()
start_web_sampler()
replicas.start()
