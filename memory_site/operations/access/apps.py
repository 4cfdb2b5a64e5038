from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    """Stands behind all other apps of `INSTALLED_APPS`: the roles are seeded when every permission exists."""

    name = "memory_site.operations.access"
    label = "access"
    verbose_name = "Access"

    def ready(self) -> None:
        from memory_site.operations.access.seeding import seed_roles_after_migrate  # noqa: PLC0415  (needs the models)

        post_migrate.connect(seed_roles_after_migrate, sender=self)
