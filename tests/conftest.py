"""Fixtures that all tests share."""

import gc
import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import pytest_django

pytest_plugins = ["tests.pages", "tests.locks", "tests.older"]

PASSWORD = "correct horse battery"


def missing(reason: str) -> None:
    """Skip the test because a service is missing, or fail it where REQUIRE_SERVICES says that all must be there."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1, but {reason}")
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browsers and servers first: they take longest, and at the end one worker would wait for the other."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/browser/", "tests/services/")))


def pytest_collection_finish() -> None:
    """The garbage collector looks less often, and not at what is there for good: it took 8% of the processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _fresh_process_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the process keeps in memory belongs to one test's database."""
    from promptops.engine import HealthRegistry
    from promptops.fleet import contents, now
    from promptops.fleet.reports import reports
    from promptops.live import snapshots as live
    from promptops.runs.queries import figures

    live.forget()
    for part in (contents, now, reports, figures):
        part.forget()
    monkeypatch.setattr(live, "health", HealthRegistry())
    yield
    live.forget()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> None:
    """Between tests that commit, all tables are emptied, which the audit's triggers would refuse."""
    from django.contrib.contenttypes.management import create_contenttypes
    from django.db import connection
    from django.db.models.signals import post_migrate

    from tests.audit_tools import without_triggers
    from tests.locks import locks

    operations = type(connection.ops)
    flush = operations.execute_sql_flush

    def flush_all(self: object, statements: list[str]) -> None:
        with without_triggers():
            flush(self, statements)

    def delete_all(self: object, style: object, tables: list[str], **options: object) -> list[str]:
        return [f'DELETE FROM "{table}"' for table in tables]

    operations.execute_sql_flush = flush_all
    if connection.vendor == "postgresql":  # its TRUNCATE makes new files for each table, which takes far longer
        operations.sql_flush = delete_all
    # Django would fill its own tables again each time; nothing here reads them.
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    with django_db_blocker.unblock():
        locks.start()


@pytest.fixture
def make_user(db: None) -> Callable[..., "object"]:
    """`make_user(role, username=...)`: a person with the password PASSWORD."""
    from promptops.people.models import User

    def make(role: str, username: str = "", name: str = "") -> User:
        user = User(username=username or str(role), name=name or str(role).title(), role=role)
        user.set_password(PASSWORD)
        user.save()
        return user

    return make


@pytest.fixture
def viewer(make_user):
    return make_user("viewer", "vera", "Vera Viewer")


@pytest.fixture
def editor(make_user):
    return make_user("editor", "eddie", "Eddie Editor")


@pytest.fixture
def releaser(make_user):
    return make_user("releaser", "rita", "Rita Releaser")


@pytest.fixture
def administrator(make_user):
    return make_user("administrator", "ada", "Ada Administrator")


@pytest.fixture
def actor(administrator):
    """Somebody to do things as, in tests of actions."""
    from promptops.ledger.audit import Actor

    return Actor.person(administrator, "192.0.2.7")


@pytest.fixture
def client_for() -> Callable[..., "object"]:
    """`client_for(user, htmx=False)`: Django's test client, signed in."""
    from django.test import Client

    def make(user=None, htmx: bool = False) -> Client:
        client = Client(headers={"HX-Request": "true"} if htmx else None)
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make


@pytest.fixture
def publish(actor):
    """`publish("enhance", "text", note=...)`: publish on top of what is live; the template is made when missing."""
    from tests import factories

    return partial(factories.publish, by=actor)
