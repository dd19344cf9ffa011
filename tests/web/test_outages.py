"""Pages while the database cannot be written, or cannot be used at all."""

import logging
import sqlite3
import time

import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.urls import reverse

from promptops.people.models import UserSession
from promptops.platform import logs, outages
from tests.invariants.test_permissions import arguments, patterns, world  # noqa: F401 -- a fixture

pytestmark = pytest.mark.django_db(transaction=True)

# Pages that have to record something: an export, a vote, a look at masked text.
RECORDING = {"audit_export", "comparison_export", "prompts_export"}


@pytest.fixture
def read_only():
    """Make the database refuse every write, as a full or read-only disk or a standby server does."""
    on, off = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    }[connection.vendor]

    def refuse(is_on: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute(on if is_on else off)

    yield refuse
    refuse(False)


def test_every_page_can_be_read_while_nothing_can_be_written(request, administrator, client_for, read_only):
    with transaction.atomic():
        world = request.getfixturevalue("world")
    client = client_for(administrator)
    UserSession.objects.update(seen_at="2020-01-01T00:00:00Z")
    read_only(True)
    broken = {}
    for pattern in patterns():
        cache.clear()  # as if each page were the first one of the session in a minute
        url = reverse(pattern.name, kwargs=arguments(pattern, world))
        for headers in ({}, {"HX-Request": "true"}):
            status = client.get(url, headers=headers).status_code
            if status >= 500 and pattern.name not in RECORDING:
                broken[url, bool(headers)] = status
    assert broken == {}


def test_last_good_shows_what_would_change_while_nothing_can_be_written(releaser, client_for, publish, read_only):
    publish("enhance", "Good")
    publish("enhance", "Bad")
    client = client_for(releaser, htmx=True)
    read_only(True)
    answer = client.get(reverse("lever_changes"), {"revision": 1})
    assert "Restoring r1 would change 1 value" in answer.content.decode()


def test_a_refusal_stands_while_nothing_can_be_written(viewer, client_for, read_only, caplog):
    client = client_for(viewer)
    read_only(True)
    assert client.get("/settings/people/").status_code == 403
    assert "A refusal of /settings/people/ could not be recorded in the audit." in caplog.text


def unavailable(monkeypatch, error: Exception) -> None:
    """Make every query of a page fail."""

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", fail)


def test_an_unavailable_database_is_a_503_with_a_sentence(viewer, client_for, monkeypatch, caplog):
    client = client_for(viewer)
    client.raise_request_exception = False
    unavailable(monkeypatch, OperationalError("connection refused\nIs the server running?"))
    page = client.get("/prompts/")
    assert (page.status_code, page["Retry-After"], page["Cache-Control"]) == (503, "5", "no-store")
    assert "The database cannot be reached at the moment." in page.content.decode()
    fragment = client.get("/prompts/", headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert fragment.content.decode() == outages.sentence(OperationalError("x"))
    assert client.get("/no/such/page/").status_code in {404, 503}
    assert client.post("/sign-in/", {"username": "vera", "password": "x"}).status_code == 503


def test_a_bug_in_a_statement_is_still_a_500(viewer, client_for, monkeypatch):
    client = client_for(viewer)
    client.raise_request_exception = False
    unavailable(monkeypatch, ProgrammingError("relation does not exist"))
    page = client.get("/prompts/")
    assert page.status_code == 500
    assert "Something went wrong on the server" in page.content.decode()


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (["PRAGMA query_only = ON", "CREATE TABLE b (x)"], "read-only"),
        (["PRAGMA max_page_count = 2", "INSERT INTO a VALUES (zeroblob(100000))"], "full"),
        (["SELECT * FROM missing"], None),
    ],
)
def test_errors_of_sqlite_are_distinguished_by_their_code(tmp_path, statements, kind):
    database = sqlite3.connect(tmp_path / "own.sqlite3", isolation_level=None)
    database.execute("CREATE TABLE a (x)")
    *prepared, failing = statements
    for statement in prepared:
        database.execute(statement)
    with pytest.raises(sqlite3.OperationalError) as raised:
        database.execute(failing)
    database.close()
    error = OperationalError(str(raised.value))
    error.__cause__ = raised.value
    assert outages.kind(error) == kind
    assert outages.kind(ExceptionGroup("of a smoke run", [error])) == kind


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (psycopg.errors.ConnectionFailure(), "away"),
        (psycopg.errors.AdminShutdown(), "away"),
        (psycopg.errors.TooManyConnections(), "away"),
        (psycopg.errors.QueryCanceled(), "locked"),
        (psycopg.OperationalError("connection refused"), "away"),
        (psycopg.errors.ProgramLimitExceeded("index row size 3000 exceeds btree version 4 maximum 2704"), None),
        (psycopg.errors.ObjectInUse(), None),
        (sqlite3.OperationalError("Could not decode to UTF-8 column 'x'"), None),
        (sqlite3.InterfaceError("bad parameter or other API misuse"), None),
    ],
)
def test_a_text_that_the_database_refuses_is_no_outage(cause, kind):
    error = OperationalError(str(cause))
    error.__cause__ = cause
    assert outages.kind(error) == kind


def test_a_flood_of_errors_is_one_line_that_counts_the_rest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = logs.OutagesInOneLine()

    def line(error: Exception) -> str | None:
        record = logging.LogRecord("django.request", logging.ERROR, "", 1, "%s: %s", ("503", "/"), (None, error, None))
        return record.getMessage() if lines.filter(record) and record.exc_info is None else None

    error = OperationalError("connection refused\nIs the server running?")
    assert line(error) == "503: / The database is unavailable (away: connection refused)."
    assert [line(error) for _ in range(3)] == [None] * 3
    now[0] += 11
    assert line(error).endswith("(away: connection refused). 3 more lines like this were left out.")
    bug = logging.LogRecord("x", logging.ERROR, "", 1, "broke", (), (ValueError, ValueError("x"), None))
    assert lines.filter(bug)
    assert bug.exc_info


def test_that_filter_is_in_use():
    assert settings.LOGGING["handlers"]["stderr"]["filters"] == ["outages", "redact", "ids"]
