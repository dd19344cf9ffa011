"""Every address and every socket message, asked by every role and by nobody."""

import json
from itertools import pairwise

import pytest
from channels.db import database_sync_to_async
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from promptops import permissions
from promptops.actions import accounts, prompt_sets
from promptops.actions.providers import ProviderFields, create_provider
from promptops.audit import record
from promptops.enums import Permission, Role
from promptops.models import Run
from promptops.permissions import TABLE, allows
from promptops.web.origin import allowed
from tests.web.sockets import page_socket

ROLES = [*Role, None]
PUBLIC = {"health", "sign_in", "setup", "join", "password_by_link"}


def patterns(resolver: URLResolver | None = None) -> list[URLPattern]:
    found = []
    for entry in (resolver or get_resolver()).url_patterns:
        found += patterns(entry) if isinstance(entry, URLResolver) else [entry]
    return found


def test_every_view_says_who_may_see_it():
    unmarked = [pattern.name for pattern in patterns() if not hasattr(pattern.callback, "permission")]
    assert unmarked == []
    assert {pattern.name for pattern in patterns() if pattern.callback.permission is None} == PUBLIC


def test_each_role_may_do_what_the_one_before_may():
    order = list(Role)
    for weaker, stronger in pairwise(order):
        assert TABLE[weaker] < TABLE[stronger]
    assert TABLE[Role.ADMINISTRATOR] == set(Permission)
    assert not any(allows("intruder", permission) for permission in Permission)
    assert permissions.roles_with(Permission.RELEASE) == [Role.RELEASER, Role.ADMINISTRATOR]


@pytest.fixture
def world(make_user, actor, publish):
    """One of everything, and the arguments that its addresses need."""
    publish("enhance", "First")
    version = publish("enhance", "Second")
    provider = create_provider(ProviderFields("local", "local"), by=actor)
    run = Run.objects.create(
        source="preview", operation="enhance", temperature=1, max_tokens=1, revision=1, status="failed", latency_ms=1
    )
    link, _ = accounts.invite(Role.VIEWER, by=actor)
    entry = record("settings.changed", by=actor)
    subject = make_user(Role.VIEWER, "subject")
    return {
        "token": "no-such-token",
        "name": "enhance",
        "number": version.number - 1,
        "seq": entry.seq,
        "provider": provider.pk,
        "run": run.pk,
        "people": subject.pk,
        "links": link.pk,
        "sets": prompt_sets.create_set("Mine", ["a fox"], by=actor).pk,
    }


def arguments(pattern: URLPattern, world: dict) -> dict:
    found = {}
    for name in pattern.pattern.converters:
        route = str(pattern.pattern)
        key = name
        if name == "pk":
            key = next(word for word in ("links", "people", "provider", "run", "sets") if word in route)
        found[name] = world[key]
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES, ids=str)
def test_the_walk(role, world, make_user, client_for, administrator):
    user = make_user(role, "walker") if role else None
    for pattern in patterns():
        needed = pattern.callback.permission
        url = reverse(pattern.name, kwargs=arguments(pattern, world))
        for method in ("get", "post"):
            client: Client = client_for(user)
            response = getattr(client, method)(url)
            told = f"{method} {url} as {role}: {response.status_code}"
            if needed is None:
                assert response.status_code in {200, 302, 405, 410, 422}, told
            elif user is None:
                assert response.status_code == 302, told
                assert response["Location"].startswith(reverse("sign_in")), told
            elif not allows(role, needed):
                assert response.status_code == 403, told
                assert "Ask an administrator" in response.content.decode(), told
            else:
                assert response.status_code in {200, 302, 400, 405, 409, 422} or (
                    response.status_code == 403 and method == "post" and needed == Permission.READ
                ), told
            if pattern.name in {"sign_out"}:
                assert method == "post" or response.status_code in {302, 405}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "arguments", "needed"),
    [("settings", [], Permission.ADMINISTER), ("template_details", ["enhance"], Permission.EDIT)],
)
@pytest.mark.parametrize("role", list(Role), ids=str)
def test_pages_that_all_may_read_are_changed_only_by_some(role, name, arguments, needed, world, make_user, client_for):
    client = client_for(make_user(role, "walker"))
    url = reverse(name, args=arguments)
    assert client.get(url).status_code == 200
    assert (client.post(url, {"description": "New"}).status_code != 403) == allows(role, needed)


@pytest.mark.django_db
@pytest.mark.parametrize("role", list(Role), ids=str)
def test_no_role_gets_past_a_missing_csrf_token(role, make_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user(role, "walker"), backend="django.contrib.auth.backends.ModelBackend")
    for pattern in patterns():
        if not pattern.pattern.converters:
            assert client.post(reverse(pattern.name), {"confirm": "1"}).status_code in {403, 405}, pattern.name


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ROLES, ids=str)
async def test_the_socket(role, make_user, actor, publish):
    def prepare():
        publish("enhance", "First")
        create_provider(ProviderFields("nowhere", "openai", "m", "http://127.0.0.1:9/v1"), by=actor)
        return make_user(role, "walker") if role else None

    user = await database_sync_to_async(prepare)()
    async with page_socket(user) as socket:
        if user is None:
            assert json.loads(await socket.receive_from(timeout=5)) == {"event": "signed_out"}
            assert (await socket.receive_output(timeout=5))["type"] == "websocket.close"
            return
        for action in ("run", "test"):
            message = {"action": action, "template": "enhance", "what": "editor", "where": "chain", "input": "a fox"}
            await socket.send_to(text_data=json.dumps(message | {"body": "x", "provider": ""}))
            answer = await socket.receive_from(timeout=5)
            while answer.startswith("{"):
                answer = await socket.receive_from(timeout=5)
            assert ("Ask an administrator" in answer) == (not allows(role, Permission.EDIT)), answer
            await socket.send_to(text_data=json.dumps({"action": "cancel"}))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://testserver:9999", "chrome-extension://abc", "null", ""]
)
async def test_a_socket_from_another_origin_is_refused(origin, make_user):
    user = await database_sync_to_async(make_user)(Role.ADMINISTRATOR, "ada")
    async with page_socket(user, origin=origin) as socket:
        assert socket is None


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://testserver", "testserver", True),
        ("https://testserver", "testserver", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("https://trusted.example", "testserver", True),
        ("http://localhost:8001", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),
        ("file://localhost", "localhost", False),
        ("http://[::1", "localhost", False),
    ],
)
def test_which_pages_may_open_a_socket(origin, host, expected, settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example"]
    assert allowed(origin, host) is expected
