"""Every address and every socket message, asked by every role and by nobody."""

import html
import inspect
import json
import re
from itertools import pairwise
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from promptops.alerts.actions.deliveries import send_test
from promptops.compare.actions import prompt_sets
from promptops.compare.models import Comparison
from promptops.ledger.audit import Actor, record
from promptops.ledger.models import AuditEntry
from promptops.people import permissions
from promptops.people.actions import accounts
from promptops.people.actions.tokens import make_token
from promptops.people.enums import Permission, Role
from promptops.people.models import User
from promptops.people.permissions import TABLE, allows
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.handover import ask, share
from promptops.prompts.actions.variables import declare
from promptops.prompts.content import Content
from promptops.prompts.models import Draft, Presence, Template, Version
from promptops.providers.models import Provider
from promptops.runs import previews
from promptops.runs.models import SafetyCheck
from promptops.safety.models import SafetyTraining
from promptops.urls import PAGE_PARTS
from promptops.web import socket
from promptops.web.origin import allowed
from tests.alerts.helpers import save_webhook
from tests.factories import arm_of, make_provider, make_run, start_comparison
from tests.fleet.servers import save_server
from tests.web.sockets import page_socket

ROLES = [*Role, None]
PUBLIC = {
    *("health", "setup", "join", "password_by_link"),
    *("sign_in", "sign_in_local", "oidc", "oidc_callback", "second_step", "second_step_setup"),
}


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


def compared(provider: Provider, actor: Actor) -> Comparison:
    first, second = Version.objects.order_by("number")
    return start_comparison([arm_of(first, provider), arm_of(second, provider)], by=actor)


def drafted(make_user, template: Template) -> Actor:
    """Make a draft, and return its author."""
    author = make_user(Role.EDITOR, "author")
    save_draft(template, Content("Third"), user=author, base=template.live_version_id)
    return Actor.person(author)


@pytest.fixture
def world(make_user, actor, publish):
    """One of everything, and the arguments that its addresses need."""
    publish("enhance", "First")
    version = publish("enhance", "Second")
    provider = make_provider("local", "local", "", by=actor)
    run = make_run(status="failed", public_id=uuid4())
    link, _ = accounts.invite(Role.VIEWER, by=actor)
    entry = record("settings.changed", by=actor)
    variable = declare("enhance", "season", "winter", by=actor)
    subject = make_user(Role.VIEWER, "subject")
    Client().force_login(subject, backend="django.contrib.auth.backends.ModelBackend")
    return {
        "token": "no-such-token",
        "name": "enhance",
        "number": version.number - 1,
        "discarded_id": 1,
        "seq": entry.seq,
        "revision": 1,
        "provider": provider.pk,
        "run": run.pk,
        "public_id": str(run.public_id),
        "queue": SafetyCheck.objects.create(run=run, side="input", decision="allow", mode="shadow").pk,
        "training": SafetyTraining.objects.create(user_name="Ada").pk,
        "people": subject.pk,
        "tokens": make_token("fleet", ["read"], by=actor)[0].pk,
        "links": link.pk,
        "variables": variable.pk,
        "operation": "enhance",
        "session": subject.sessions.get().pk,
        "sets": prompt_sets.create_set("Mine", ["a fox"], by=actor).pk,
        "compare": (comparison := compared(provider, actor)).pk,
        "input": 1,
        "arm": comparison.arms.first().pk,
        "servers": save_server().pk,
        "destinations": (webhook := save_webhook(actor)).pk,
        "shared_id": share(template := version.template, by=(drafting := drafted(make_user, template))).pk,
        "request_id": ask(template, by=drafting).pk,
        "deliveries": send_test(webhook, by=actor).pk,
    }


def arguments(pattern: URLPattern, world: dict) -> dict:
    found = {}
    for name in pattern.pattern.converters:
        route = str(pattern.pattern)
        key = name
        if name == "pk":
            words = (
                "links",
                "people",
                "tokens",
                "provider",
                "queue",
                "run",
                "sets",
                "variables",
                "compare",
                "training",
                "servers",
                "destinations",
                "deliveries",
            )
            key = next(word for word in words if word in route)
        found[name] = world[key]
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES, ids=str)
def test_the_walk(role, world, make_user, client_for, administrator):
    user = make_user(role, "walker") if role else None
    client: Client = client_for(user)
    for pattern in patterns():
        needed = pattern.callback.permission
        url = reverse(pattern.name, kwargs=arguments(pattern, world))
        for method in ("get", "post"):
            response = getattr(client, method)(url)
            if "sessionid" in response.cookies:
                client = client_for(user)
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


# One deed for each permission: a request, and whether what it asks for has come true.
DEEDS = {
    Permission.READ: (
        lambda client, world: client.get(reverse("template", args=["enhance"])),
        lambda world, response: "Second" in response.content.decode(),
    ),
    Permission.EDIT: (
        lambda client, world: client.post(reverse("template_draft", args=["enhance"]), text(world, "A draft")),
        lambda world, response: Draft.objects.filter(body="A draft").exists(),
    ),
    Permission.RELEASE: (
        lambda client, world: client.post(reverse("template_publish", args=["enhance"]), text(world, "Third")),
        lambda world, response: Template.objects.get(name="enhance").live_version.body == "Third",
    ),
    Permission.ADMINISTER: (
        lambda client, world: client.post(
            reverse("people_active", args=[world["people"]]), {"active": "0", "confirm": "1"}
        ),
        lambda world, response: not User.objects.get(pk=world["people"]).is_active,
    ),
}


def text(world: dict, body: str) -> dict:
    return {"body": body, "base": Template.objects.get(name="enhance").live_version_id}


def test_there_is_a_deed_for_each_permission():
    assert set(DEEDS) == set(Permission)


@pytest.mark.django_db
@pytest.mark.parametrize("permission", list(Permission), ids=str)
@pytest.mark.parametrize("role", ROLES, ids=str)
def test_each_cell_of_the_table_over_http(role, permission, world, make_user, client_for):
    ask, came_true = DEEDS[permission]
    response = ask(client_for(make_user(role, "walker") if role else None), world)
    assert came_true(world, response) is (role is not None and permission in TABLE[role])
    if role is None:
        assert response["Location"].startswith(reverse("sign_in"))
    elif permission not in TABLE[role]:
        assert response.status_code == 403
        assert permissions.roles_with(permission)[0].label.lower() in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("has", [True, False], ids=["this one alone", "all but this one"])
@pytest.mark.parametrize("permission", list(Permission), ids=str)
def test_each_deed_needs_exactly_its_permission(permission, has, world, make_user, client_for, monkeypatch):
    monkeypatch.setitem(TABLE, Role.VIEWER, {permission} if has else set(Permission) - {permission})
    ask, came_true = DEEDS[permission]
    assert came_true(world, ask(client_for(make_user(Role.VIEWER, "walker")), world)) is has


@pytest.mark.django_db
@pytest.mark.parametrize("permission", list(Permission), ids=str)
def test_a_deactivated_person_has_no_cell(permission, world, make_user, client_for):
    user = make_user(Role.ADMINISTRATOR, "walker")
    client = client_for(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    ask, came_true = DEEDS[permission]
    assert not came_true(world, ask(client, world))


def told(rows: list[list[str]]) -> dict[Role, set[Permission]]:
    """The table that a page or a document shows, from its rows; the first names the roles."""
    labels = {permission.label: permission for permission in Permission}
    roles = [Role(label.lower()) for label in rows[0][1:]]
    found: dict[Role, set[Permission]] = {role: set() for role in roles}
    for row in rows[1:]:
        for role, cell in zip(roles, row[1:], strict=True):
            assert cell in {"yes", "no"}
            if cell == "yes":
                found[role].add(labels[row[0]])
    assert {row[0] for row in rows[1:]} == set(labels)
    return found


@pytest.mark.django_db
def test_the_settings_page_shows_the_table(client_for, viewer):
    page = client_for(viewer).get(reverse("settings")).content.decode()
    table = next(table for table in re.findall(r"<table.*?</table>", page, re.S) if "Administrator" in table)
    cells = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", table, re.S)]
    rows = [[re.sub(r"<[^>]+>|–", "", html.unescape(cell)).strip() for cell in row] for row in cells]
    assert told(rows) == TABLE


def test_the_guide_shows_the_table():
    guide = (settings.BASE_DIR / "docs" / "operators.md").read_text()
    lines = guide.split("## Roles")[1].split("\n\n")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert told([rows[0], *rows[2:]]) == TABLE


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
        make_provider("nowhere", by=actor)
        return make_user(role, "walker") if role else None

    user = await database_sync_to_async(prepare)()
    async with page_socket(user) as socket:
        if user is None:
            assert json.loads(await socket.receive_from(timeout=5)) == {"event": "signed_out"}
            assert (await socket.receive_output(timeout=5))["type"] == "websocket.close"
            return
        for action in ("run", "again", "smoke", "test"):
            message = {"action": action, "template": "enhance", "what": "editor", "where": "chain", "input": "a fox"}
            await socket.send_to(text_data=json.dumps(message | {"body": "x", "provider": ""}))
            answer = await socket.receive_from(timeout=5)
            while answer.startswith("{"):
                answer = await socket.receive_from(timeout=5)
            assert ("Ask an administrator" in answer) == (not allows(role, Permission.EDIT)), answer
            told = AuditEntry.objects.filter(action="access.refused", object_name=action, actor=user)
            assert await told.acount() == (not allows(role, Permission.EDIT))
            await socket.send_to(text_data=json.dumps({"action": "cancel"}))


# What a page may ask for over its socket, beside canceling its own run. RELEASE and ADMINISTER go over HTTP alone.
MESSAGES = {"here": Permission.READ} | dict.fromkeys(("run", "again", "smoke", "test"), Permission.EDIT)


def test_every_message_has_its_permission():
    assert set(MESSAGES) == {*previews.PLANNERS, "here"}
    source = inspect.getsource(socket.PageConsumer._do)
    assert set(re.findall(r'action == "(\w+)"', source)) == {"here"}
    parts = {action: permission for part in PAGE_PARTS for action, permission in part.actions.items()}
    assert parts == dict.fromkeys(previews.PLANNERS, Permission.EDIT) | {"cancel": None}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lost", list(Permission), ids=str)
async def test_each_message_asks_again_for_exactly_its_permission(lost, make_user, publish, monkeypatch):
    """The socket is open already when the role loses one permission."""

    def prepare():
        publish("enhance", "First")
        return make_user(Role.VIEWER, "walker")

    monkeypatch.setitem(TABLE, Role.VIEWER, set(Permission))
    user = await database_sync_to_async(prepare)()
    async with page_socket(user) as socket:
        await socket.receive_from(timeout=5)
        monkeypatch.setitem(TABLE, Role.VIEWER, set(Permission) - {lost})
        await socket.send_to(text_data=json.dumps({"action": "here", "template": "enhance"}))
        message = {"template": "enhance", "what": "editor", "where": "chain", "input": "a fox", "body": "x"}
        await socket.send_to(text_data=json.dumps({"action": "run"} | message))
        answer = await socket.receive_from(timeout=5)
        while answer.startswith("{"):
            answer = await socket.receive_from(timeout=5)
        assert ("Ask an administrator" in answer) is (lost == Permission.EDIT)
        assert await Presence.objects.aexists() is (lost != Permission.READ)


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
