from django.apps import AppConfig


class LeasesConfig(AppConfig):
    name = "memory_site.core.leases"
    label = "leases"
