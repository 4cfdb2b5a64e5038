from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    name = "memories.knowledge"
