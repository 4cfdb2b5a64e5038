from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_migrate, post_save


class AccessConfig(AppConfig):
    """Stands behind all other apps of `INSTALLED_APPS`: the roles are seeded when every permission exists."""

    name = "memory_site.operations.access"
    label = "access"
    verbose_name = "Access"

    def ready(self) -> None:
        from memory_site.operations.access.events import (  # noqa: PLC0415  (needs the models)
            note_failed_login,
            note_login,
            note_logout,
        )
        from memory_site.operations.access.seeding import seed_roles_after_migrate  # noqa: PLC0415
        from memory_site.operations.access.sessions import end_after_change  # noqa: PLC0415

        post_migrate.connect(seed_roles_after_migrate, sender=self)
        user_logged_in.connect(note_login)
        user_logged_out.connect(note_logout)
        user_login_failed.connect(note_failed_login)
        post_save.connect(end_after_change, sender=settings.AUTH_USER_MODEL)
