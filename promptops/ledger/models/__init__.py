"""The models of `ledger`: the audit, the live configuration and its releases."""

from promptops.ledger.models.audit import AuditEntry, AuditHead, ExportTally
from promptops.ledger.models.releases import LiveConfiguration, Release

__all__ = ["AuditEntry", "AuditHead", "ExportTally", "LiveConfiguration", "Release"]
