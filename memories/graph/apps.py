from django.apps import AppConfig


class GraphConfig(AppConfig):
    name = "memories.graph"
