"""The check of the audit's chain over HTTP."""

import re

import pytest
from django.urls import reverse

from promptops.ledger import chain as audit_chain
from tests.audit_tools import rewrite, tamper, without_triggers
from tests.history.helpers import text_of

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


def test_the_check_shows_the_head_and_takes_it_as_a_pin(client, record):
    for _ in range(3):
        record()
    response = client.get(reverse("audit_verify"))
    assert "The chain is intact" in text_of(response)
    pin = re.search(r'id="chain-head">([^<]+)<', response.content.decode())[1]
    assert pin == str(audit_chain.verify().head)
    record()
    assert "includes the pinned entry #3" in text_of(client.get(reverse("audit_verify"), {"pin": pin}))
    rewrite(2, note="because")
    assert "The chain is intact" in text_of(client.get(reverse("audit_verify")))
    text = text_of(client.get(reverse("audit_verify"), {"pin": pin}))
    assert "Entry 3 is not the pinned entry" in text
    assert "The chain is intact" not in text
    refused = client.get(reverse("audit_verify"), {"pin": HOSTILE})
    assert refused.status_code == 422
    assert "A pin is an entry" in text_of(refused)
    assert HOSTILE not in refused.content.decode()


def test_the_check_continues_step_by_step(client, record, monkeypatch):
    monkeypatch.setattr("promptops.history.views.audit.STEP_SECONDS", 0)
    monkeypatch.setattr("promptops.ledger.audit.BATCH", 4)
    for _ in range(10):
        record()
    pin = str(audit_chain.verify().head)
    steps, address = [], f"{reverse('audit_verify')}?pin={pin}"
    while address:
        page = client.get(address, headers={"HX-Request": "true"}).content.decode()
        assert len(steps) < 9
        steps.append(page)
        following = re.search(r'hx-get="([^"]+)"', page)
        address = following and following[1].replace("&amp;", "&")
    assert len(steps) > 2
    assert "4 of 10 entries" in steps[0]
    assert "The chain is intact" in steps[-1]
    step = re.search(r"step=([^&\"]+)", steps[-2])[1]
    # A step of another pin or a forged step starts from the beginning.
    for query in (f"step={step}", f"step={step[:-2]}xx&pin={pin}"):
        assert "4 of 10 entries" in client.get(f"{reverse('audit_verify')}?{query}").content.decode()


def test_the_check_names_the_fault_and_missing_triggers(client, record):
    for _ in range(3):
        record()
    tamper(2, note="because")
    text = text_of(client.get(reverse("audit_verify")))
    assert "Entry 2 was changed" in text
    assert "does not protect" not in text
    with without_triggers():
        assert "The database does not protect the audit" in text_of(client.get(reverse("audit_verify")))
