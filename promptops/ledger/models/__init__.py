"""The models of `ledger`."""

from promptops.ledger.models.audit import AuditHead, ExportTally, AuditEntry
from promptops.ledger.models.releases import LiveConfiguration, Release

__all__ = ["AuditEntry", "AuditHead", "ExportTally", "LiveConfiguration", "Release"]
