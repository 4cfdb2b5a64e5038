from django.apps import AppConfig


class ListsConfig(AppConfig):
    name = "memory_site.core.lists"
    label = "lists"
