"""Which address leads where."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from memory_site.api import api
from memory_site.operations import probes

DOCUMENTATION = RedirectView.as_view(pattern_name="api:openapi-view")

urlpatterns = [
    path("", DOCUMENTATION),
    path("api/v1/", api.urls),
    path("health/live", probes.live),
    path("health/ready", probes.ready),
    path("health", probes.health),
    path("admin/", admin.site.urls),
]
