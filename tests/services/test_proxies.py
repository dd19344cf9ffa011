"""A real server behind nginx and Caddy, as deploy/nginx.conf and deploy/Caddyfile set them up."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import httpx
import pytest

from promptops.web.sub_path import ADVICE
from tests.engine.helpers import STREAM_END, STREAM_HEAD, delta, event, part
from tests.services.proxies import PROXIES, VISITOR, Proxy, proxying
from tests.services.server import ACCOUNT, LINK, SECRET_KEY, Browser, Server, hint, make_database, manage, serving
from tests.services.test_openai_clients import upstream

PREPARE = """
from promptops.ledger.audit import SYSTEM
from promptops.people.actions.tokens import make_token
from tests.factories import make_provider, publish
publish("enhance", "Enhance it.")
make_provider("p1", base_url="{url}")
print(make_token("gpu", ["run", "follow"], by=SYSTEM)[1])
"""
MIB = 2**20
SETTINGS = {"BEHIND_PROXY": "1", "ALLOWED_HOSTS": "localhost", "SECRET_KEY": SECRET_KEY}

was_read = threading.Event()
"""Set when the client has read the first part of a streamed answer."""


async def stream_in_two(writer: asyncio.StreamWriter) -> None:
    """Send the second half of an answer only after a client has read the first half."""
    writer.write(STREAM_HEAD + part(delta("A red")))
    await writer.drain()
    await asyncio.to_thread(was_read.wait, 60)
    writer.write(part(delta(" fox.", "stop")) + part(event("[DONE]")) + STREAM_END)
    await writer.drain()


class Installation:
    """A server, a token for machines, and the database."""

    def __init__(self, server: Server, token: str, folder) -> None:
        self.server, self.folder = server, folder
        self.headers = {"Authorization": f"Bearer {token}"}

    def rows(self, statement: str) -> list[tuple]:
        with closing(sqlite3.connect(self.folder / "promptops.sqlite3")) as database:
            return database.execute(statement).fetchall()


@pytest.fixture(scope="module")
def installation(tmp_path_factory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("proxied")
    make_database(folder)
    with upstream(stream_in_two) as url:
        prepared = manage(folder, "shell", "-v", "0", "-c", PREPARE.format(url=url), SECRET_KEY=SECRET_KEY)
        assert prepared.returncode == 0, prepared.stderr
        with serving(folder, **SETTINGS) as server:
            yield Installation(server, prepared.stdout.split()[-1], folder)
        assert "Traceback" not in server.output


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request, installation, tmp_path_factory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy") / "own"
    with proxying(request.param, folder, [installation.server.port]) as running:
        yield running


@pytest.fixture(scope="module")
def person(proxy, installation) -> Browser:
    """Ada, signed in through the proxy. The first proxy's Ada used the set-up link."""
    browser = proxy.visitor(X_Forwarded_For="203.0.113.9")
    (link,) = LINK.findall(installation.server.output)
    if installation.rows("SELECT 1 FROM promptops_user"):
        answer = browser.fill("/sign-in/", {"username": ACCOUNT["username"], "password": ACCOUNT["password"]})
    else:
        answer = browser.fill(urlsplit(link).path, ACCOUNT)
    assert answer.headers["location"] == "/"
    return browser


def test_http_leads_to_https(proxy):
    answer = httpx.get(f"http://localhost:{proxy.http_port}/prompts/?a=1")
    assert answer.status_code in {301, 308}
    assert answer.headers["location"].replace(f":{proxy.https_port}", "") == "https://localhost/prompts/?a=1"


def test_a_person_signs_in_and_the_server_sees_their_address(proxy, person, installation):
    """The address is the visitor's: neither the proxy's, nor the one that the visitor made up."""
    assert "Ada Lovelace" in person.get("/").text
    assert {cookie.secure for cookie in person.client.cookies.jar} == {True}
    [(address,)] = installation.rows("SELECT address FROM promptops_auditentry ORDER BY seq DESC LIMIT 1")
    assert address == VISITOR
    page = proxy.visitor(Accept_Encoding="gzip").get("/healthz")
    assert "content-encoding" not in page.headers


async def test_pages_and_servers_keep_a_socket(proxy, person, installation):
    async with proxy.socket("/ws/", cookies=dict(person.client.cookies), headers={"Origin": proxy.address}) as page:
        assert await hint(page, "revision") > 0
    async with proxy.socket("/ws/v1/fleet", headers=installation.headers) as server:
        facts = {"type": "register", "instance": "1", "kind": "library", "state": "ready", "revision": None}
        await server.send_json(facts | {"server": "gpu-1"})
        assert (await server.receive_json(timeout=60))["type"] == "registered"


def test_a_server_waits_for_news(proxy, installation):
    machine = proxy.visitor(**installation.headers).client
    revision = machine.get("/api/v1/live").json()["revision"]
    began = time.monotonic()
    assert machine.get(f"/api/v1/live?after={revision}&wait=1").status_code == 304
    assert time.monotonic() - began >= 1


def streams(machine: httpx.Client, patience: float = 30.0) -> bool:
    """Return whether the first half of an answer arrives before the second half is sent, within `patience` seconds."""
    was_read.clear()
    late = threading.Timer(patience, was_read.set)
    late.start()
    with machine.stream("POST", "/api/v1/run/enhance", json={"input": "a fox"}) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "A red" in line)
        late.cancel()
        is_first = not was_read.is_set()
        was_read.set()
        assert "event: done" in list(lines)
    return is_first


def test_an_answer_streams(proxy, installation):
    assert streams(proxy.visitor(Accept="text/event-stream", **installation.headers).client)


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_an_answer_streams_through_a_bare_nginx_that_compresses(proxy, installation):
    """nginx speaks HTTP/1.0 by default and collects such answers, and its gzip collects, too: X-Accel-Buffering."""
    headers = {"Accept": "text/event-stream"} | installation.headers
    with httpx.Client(base_url=f"http://localhost:{proxy.bare_port}", headers=headers, timeout=60) as machine:
        assert streams(machine)


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_collects_an_answer_is_noticed(installation, tmp_path, name):
    """The tests of streaming can fail: here nginx ignores X-Accel-Buffering, and Caddy buffers."""
    headers = {"Accept": "text/event-stream"} | installation.headers
    with proxying(name, tmp_path / "own", [installation.server.port], collects=True) as proxy:
        address = proxy.address if name == "caddy" else f"http://localhost:{proxy.bare_port}"
        with httpx.Client(base_url=address, headers=headers, verify=False, timeout=60) as machine:
            assert not streams(machine, patience=1.5)


@pytest.mark.parametrize(("mebibytes", "statuses"), [(7.9, {200, 422}), (9.5, {413})])
def test_a_file_may_have_8_mib(person, mebibytes, statuses):
    assert person.get("/compare/sets/new/").status_code == 200
    form = {"csrfmiddlewaretoken": person.client.cookies["csrftoken"], "name": "large"}
    lines = b"a fox running through snow\n" * int(mebibytes * MIB / 27)
    answer = person.client.post("/compare/sets/new/", data=form, files={"file": ("large.txt", lines)})
    assert answer.status_code in statuses, answer.text


@pytest.mark.parametrize("path", ["/promptops/", "/promptops/sign-in/", "/promptops/api/v1/live", "/whole/sign-in/"])
@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_a_path_below_another_site_is_refused_in_one_sentence(proxy, path):
    """Once with the path cut off and X-Forwarded-Prefix, once with the whole path."""
    answer = httpx.get(f"http://localhost:{proxy.sub_path_port}{path}")
    assert answer.status_code == 404
    assert ADVICE in answer.text


@pytest.mark.parametrize("header", ["X-Forwarded-Prefix", "Daphne-Root-Path"])
def test_no_client_can_move_the_addresses_of_a_page(installation, header):
    address = installation.server.address.replace("127.0.0.1", "localhost")
    answer = httpx.get(f"{address}/sign-in/", headers={header: "/elsewhere"})
    assert (answer.status_code, answer.text.strip()) == (404, ADVICE)
    assert httpx.get(f"{address}/sign-in/", headers={header: "/"} if header[0] == "X" else {}).status_code == 200
    assert ADVICE not in httpx.get(f"{address}/nowhere").text


@pytest.mark.parametrize("name", PROXIES)
def test_a_process_that_died_is_left_out(installation, tmp_path, name):
    with serving(installation.folder, **SETTINGS) as second, ExitStack() as stack:
        ports = [second.port, installation.server.port]
        visitor = stack.enter_context(proxying(name, tmp_path / "own", ports)).visitor()
        assert {visitor.get("/healthz").status_code for _ in range(6)} == {200}
        second.kill()
        assert {visitor.get("/healthz").status_code for _ in range(6)} == {200}
