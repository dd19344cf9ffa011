"""The examples of the API page work as they are, with what is live here."""

import os

import httpx
import pytest

from promptops.api.app import ROUTERS, api
from promptops.api.openapi import document_of, routes_of
from promptops.api.reference import groups
from promptops.api.views import _examples
from promptops.live import snapshots as live

pytestmark = pytest.mark.django_db(transaction=True)
GROUPS = ("Live", "Servers", "Releases")
REFUSED_HERE = {"POST /api/v1/templates/{name}/rollback"}
"""There is one version, so there is nothing to roll back to."""


def test_every_example_of_a_fresh_installation_is_answered(machine, publish, monkeypatch, tmp_path):
    publish("noir", "Dark.", operation="enhance")
    live.refresh()
    client = machine("read", "follow", "run", "release", "audit")
    statuses = []

    def send(method, url, headers=None, **options):
        answer = client.request(method, url, **options)
        statuses.append(answer.status_code)
        return httpx.Response(
            200, content=answer.content if answer.status_code == 200 else b"{}", request=answer.request
        )

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "PROMPTOPS_TOKEN", "not used")
    monkeypatch.setattr(httpx, "get", lambda url, **options: send("GET", url, **options))
    monkeypatch.setattr(httpx, "post", lambda url, **options: send("POST", url, **options))
    refused = set()
    for group in groups(document_of(api, routes_of(ROUTERS)), "", _examples()):
        for operation in group.operations if group.name in GROUPS else ():
            exec(operation.python, {})
            if statuses[-1] >= 300:
                refused.add(f"{operation.method} {operation.path}")
    assert refused <= REFUSED_HERE
    assert len(statuses) > 10
