"""The models of `ledger`."""

from promptops.ledger.models.audit import AuditEntry, AuditHead, ExportTally
from promptops.ledger.models.releases import LiveConfiguration, Release

__all__ = ["AuditEntry", "AuditHead", "ExportTally", "LiveConfiguration", "Release"]
