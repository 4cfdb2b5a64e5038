"""The table of leases."""

from django.db import models


class Lease(models.Model):
    """Work that one process does at a time. After `expires_at` another may take it; the token then is another one."""

    name = models.TextField(primary_key=True)
    token = models.UUIDField()
    holder = models.CharField(max_length=255, help_text="Host and process.")
    process = models.TextField(help_text="What identifies it, so that one that was killed is noticed on its machine.")
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
