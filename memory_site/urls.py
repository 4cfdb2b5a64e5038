"""Which address leads where."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from memory_site.api import api
from memory_site.operations import health_views

DOCUMENTATION = RedirectView.as_view(pattern_name="api:openapi-view")

urlpatterns = [
    path("", DOCUMENTATION),
    path("api/v1/", api.urls),
    path("health/live", health_views.live),
    path("health/ready", health_views.ready),
    path("health", health_views.health),
    path("admin/", admin.site.urls),
]
