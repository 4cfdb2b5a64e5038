from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "memory_site.operations"
    label = "operations"
