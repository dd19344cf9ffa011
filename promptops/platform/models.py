"""The table of leases, with which the processes of an installation share background work (`platform.leases`)."""

from django.db import models


class Lease(models.Model):
    """A piece of background work, the process that does it, and the time until which it may."""

    name = models.CharField(max_length=60, primary_key=True)
    holder = models.CharField(max_length=160)
    until = models.DateTimeField(help_text="By the database's clock.")

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
