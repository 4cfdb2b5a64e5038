"""The addresses of the API, the health checks and the console."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from memory_site.api import api
from memory_site.client_archive import get_archive
from memory_site.operations.health import views as health_views
from memory_site.operations.metrics import views as metrics_views

DOCS_REDIRECT = RedirectView.as_view(pattern_name="api:openapi-view")

admin.autodiscover()

urlpatterns = [
    path("", DOCS_REDIRECT),
    path("api/v1/", api.urls),
    path("client/memory-site-client.tar.gz", get_archive),
    path("health/live", health_views.get_liveness),
    path("health/ready", health_views.get_readiness),
    path("health", health_views.get_health),
    path("metrics", metrics_views.get_metrics),
    path("", include("memory_site.mcp_server.urls")),
    path("admin/", include("memory_site.operations.access.urls")),
    path("admin/", admin.site.urls),
]
