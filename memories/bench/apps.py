from django.apps import AppConfig


class BenchConfig(AppConfig):
    name = "memories.bench"
    label = "bench"
    verbose_name = "Search bench"
