from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "memories.jobs"
    label = "jobs"
