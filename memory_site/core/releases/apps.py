from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    name = "memory_site.core.releases"
    label = "releases"
