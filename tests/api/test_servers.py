"""Servers over HTTP: those that have no socket report here, and anybody who may read lists them."""

import pytest

from promptops.fleet import contents
from promptops.fleet.actions import servers as actions
from promptops.fleet.models import Acknowledgement, Server
from promptops.fleet.reports import reports
from promptops.live import documents
from tests.fleet.servers import runs, save_server

pytestmark = pytest.mark.django_db(transaction=True)

WHO = {"server": "gpu-7", "instance": "1"}
REGISTER = {"type": "register", "kind": "files", "state": "ready", "revision": None, "labels": {"zone": "a"}, **WHO}
HEARTBEAT = {"type": "heartbeat", "state": "ready", "revision": None, **WHO}


@pytest.fixture
def document(publish):
    publish("enhance", "Text")
    document = documents.current()
    contents.remember(document.epoch, document.revision, document.sha256)
    return document


def written() -> Server:
    actions.write(reports.batch(everything=True))
    return Server.objects.get()


def test_a_server_registers_applies_and_sends_heartbeats(machine, document):
    server = machine("follow")
    answer = server.post("/api/v1/servers", json=REGISTER)
    assert answer.status_code == 200
    assert answer.json() == {"revision": document.revision, "epoch": document.epoch, "heartbeat_seconds": 10}
    assert server.post("/api/v1/servers", json={"type": "applied", **WHO, **runs(document)}).status_code == 200
    assert written().labels == {"zone": "a"}
    assert Acknowledgement.objects.get().outcome == "applied"


def test_a_message_after_those_to_another_process_keeps_what_they_said(machine, document):
    server = machine("follow")
    server.post("/api/v1/servers", json=REGISTER | runs(document))
    written()
    Server.objects.update(drift="enhance.txt was changed")  # as another process wrote it
    server.post("/api/v1/servers", json=HEARTBEAT | runs(document))
    assert written().drift == "enhance.txt was changed"


def test_a_server_has_to_register_first(machine, document):
    assert machine("follow").post("/api/v1/servers", json=HEARTBEAT).status_code == 409


@pytest.mark.parametrize("body", [{}, {"type": "hello"}, REGISTER | {"labels": 1}, REGISTER | {"more": 1}, [], "x"])
def test_invalid_messages_are_refused(machine, document, body):
    answer = machine("follow").post("/api/v1/servers", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_a_token_of_one_server_reports_for_no_other(machine, document):
    bound = machine("follow", server="gpu-8")
    assert bound.post("/api/v1/servers", json=REGISTER).status_code == 403
    assert bound.post("/api/v1/servers", json=REGISTER | {"server": "gpu-8"}).status_code == 200


@pytest.mark.parametrize(("scope", "reads", "reports_"), [("read", 200, 403), ("follow", 403, 200), ("run", 403, 403)])
def test_which_scope_does_what(machine, document, scope, reads, reports_):
    caller = machine(scope)
    assert caller.get("/api/v1/servers").status_code == reads
    assert caller.post("/api/v1/servers", json=REGISTER).status_code == reports_


def test_the_list_has_pages(machine, document):
    reader = machine("read")
    for number in range(5):
        save_server(f"gpu-{number}", silent_for=60 if number == 1 else 0)
    first = reader.get("/api/v1/servers", params={"limit": 3}).json()
    assert [(each["name"], each["standing"]) for each in first["servers"]] == [
        ("gpu-0", "current"),
        ("gpu-1", "silent"),
        ("gpu-2", "current"),
    ]
    rest = reader.get("/api/v1/servers", params={"after": first["next"]}).json()
    assert [each["name"] for each in rest["servers"]] == ["gpu-3", "gpu-4"]
    assert rest["next"] is None
    assert reader.get("/api/v1/servers", params={"limit": 0}).status_code == 422
