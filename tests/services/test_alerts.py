"""Alerts of real processes: two on one database send a message once, and a restored backup has its destinations."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from promptops.alerts import signing
from tests.alerts.receiver import receiving
from tests.services.postgresql import own_database
from tests.services.server import SECRET_KEY, Server, manage
from tests.services.test_upgrade import ENGINES, database, rows

KEY = {"SECRET_KEY": SECRET_KEY, "WEBHOOK_PRIVATE_HOSTS": "127.0.0.1"}
ADD = """
from django.core.management import call_command
from django.db import transaction
from promptops.alerts.actions import destinations
from promptops.alerts.actions.destinations import DestinationFields
from promptops.ledger.audit import COMMAND_LINE
fields = DestinationFields("On call", "webhook", ("release.made",), 0, address={url!r})
"""
ADD_AND_PUBLISH = f"""{ADD}
with transaction.atomic():  # whoever looks at releases meanwhile sees all or none
    destinations.add(fields, by=COMMAND_LINE)
    for file in {{files!r}}:
        call_command("publish", "enhance", file=file)
"""
BACK_UP_AND_REMOVE = f"""{ADD}
from promptops.alerts.actions import deliveries
from promptops.alerts.models import Delivery, Destination
from django.utils import timezone
_, secret = destinations.add(fields, by=COMMAND_LINE)
message = deliveries.Message("release:waiting", "release.made", "It waited.", timezone.now())
deliveries.queue(message, Destination.objects.all())
call_command("backup", {{backup!r}})
waiting = Delivery.objects.get().message_id
destinations.remove(Destination.objects.get(), by=COMMAND_LINE)
print(secret, waiting)
"""


def run(folder: Path, script: str, **more: str) -> str:
    """Run a script in `manage.py shell`, and return the last line that it prints."""
    done = manage(folder, "shell", "--no-imports", "-c", script, **more)
    assert done.returncode == 0, done.stderr
    return (done.stdout.strip().splitlines() or [""])[-1]


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


# 12 s: three starts, and answers that take longer than the 5 s between two looks at what is due.
def test_two_processes_send_each_message_once(tmp_path: Path) -> None:
    with own_database(has_tables=True) as url, receiving() as receiver, ExitStack() as stack:
        command = {"DATABASE_URL": url, **KEY}
        receiver.seconds = 6  # while one process waits for the answer, the other one looks at what is due
        files = []
        for number in range(5):
            (tmp_path / f"{number}.txt").write_text(f"Text {number}.")
            files.append(str(tmp_path / f"{number}.txt"))
        for number in range(2):
            server = Server(tmp_path, **command)
            stack.callback(server.kill)
            server.wait_for("PromptOps is up")
            if number == 0:
                run(tmp_path, ADD_AND_PUBLISH.format(url=receiver.url, files=files), **command)
        delivered = "SELECT count(*) FROM promptops_delivery WHERE state = 'delivered'"
        until(lambda: rows(url, delivered) == [[5]])
        ids = Counter(headers["webhook-id"] for headers, _ in receiver.got)
        assert sorted(ids.values()) == [1] * 5
        assert rows(url, "SELECT DISTINCT attempts FROM promptops_delivery") == [[1]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restored_backup_has_its_destinations_and_sends_what_waited(tmp_path: Path, engine: str) -> None:
    if engine == "postgresql" and shutil.which("pg_dump") is None:
        pytest.fail("pg_dump is missing: install PostgreSQL's client programs")
    backup = tmp_path / "backup"
    with ExitStack() as stack:
        url = stack.enter_context(database(engine, tmp_path, has_tables=True))
        receiver = stack.enter_context(receiving())
        command = {"DATABASE_URL": url, **KEY}
        script = BACK_UP_AND_REMOVE.format(url=receiver.url, backup=str(backup))
        secret, waiting = run(tmp_path, script, **command).split()
        assert rows(url, "SELECT name FROM promptops_destination") == []
        done = manage(tmp_path, "restore", str(backup), "--replace", **command)
        assert done.returncode == 0, done.stderr
        assert rows(url, "SELECT name FROM promptops_destination") == [["On call"]]
        server = Server(tmp_path, **command)
        stack.callback(server.kill)
        server.wait_for("PromptOps is up")
        state = "SELECT state FROM promptops_delivery WHERE cause = 'release:waiting'"
        until(lambda: rows(url, state) == [["delivered"]])
        messages = {headers["webhook-id"]: (headers, body) for headers, body in receiver.got}
        headers, body = messages[waiting]
        assert json.loads(body)["text"] == "It waited."
        signed = signing.signature(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == signed
