"""Fixtures of the tests of the audit's pages."""

import pytest
from django.db import transaction

from promptops.ledger import audit
from promptops.ledger.models import AuditEntry
from tests.audit_tools import forget_everything


@pytest.fixture
def client(client_for, viewer):
    client = client_for(viewer)
    forget_everything()  # the sign-in, so that tests know what is there
    return client


@pytest.fixture
def record(actor):
    def make(action: str = "template.described", by=actor, **fields) -> AuditEntry:
        with transaction.atomic():
            return audit.record(action, by=by, **fields)

    return make
