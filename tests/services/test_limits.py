"""Limits of what one client can take from the others: bodies, time, connections. Each test attacks a real server."""

import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from promptops.people import passwords
from promptops.web.workers import PASSWORDS_WAITING
from tests.services.server import Browser, Server, administrator, serving

MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("limits"), REQUEST_SECONDS="2", CONNECTIONS_PER_ADDRESS="20") as running:
        yield running


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def answer(connection: socket.socket) -> bytes:
    """Everything that the server still sends; ends when it closes."""
    received = b""
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            return received
        if not data:
            return received
        received += data


def resident_mib(server: Server) -> float:
    """The memory of the server's process."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def send_body(connection: socket.socket, path: str, size: int, *, chunked: bool) -> int:
    """Send a POST with so many bytes, as far as the server lets us; how many bytes were sent."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode())
    block = b"x" * 65536
    sent = 0
    try:
        while sent < size:
            connection.sendall(b"10000\r\n" + block + b"\r\n" if chunked else block)
            sent += len(block)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
    except (ConnectionResetError, BrokenPipeError):
        pass
    return sent


@pytest.mark.parametrize("size", [24 * MIB, pytest.param(300 * MIB, marks=pytest.mark.proof, id="proof: 300 MiB")])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("path", ["/sign-in/", "/nowhere/", "/compare/sets/new/", "/prompts-import/"])
def test_a_body_that_is_too_long_is_refused_before_it_is_kept(server, path, chunked, size) -> None:
    before = resident_mib(server)
    began = time.monotonic()
    with closing(connect(server)) as connection:
        sent = send_body(connection, path, size, chunked=chunked)
        head, _, page = answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"This page accepts at most" in page
    grown = resident_mib(server) - before
    print(
        f"{path} chunked={chunked}: {sent / MIB:.0f} MiB sent, {time.monotonic() - began:.1f} s, {grown:.0f} MiB more"
    )
    assert grown < 16
    assert httpx.get(f"{server.address}/sign-in/").status_code == 200


def test_the_limit_is_known_before_a_body_is_sent(server) -> None:
    """A client that asks first (`Expect: 100-continue`) is refused at the headers."""
    with closing(connect(server)) as connection:
        head = f"POST /sign-in/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {300 * MIB}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_pages_that_take_files_take_more_than_forms(server) -> None:
    """8 MiB reach the page of a prompt set (which asks to sign in), but no other page."""
    for path, status in [("/compare/sets/new/", b"403"), ("/prompt-files/import/", b"413"), ("/runs/", b"413")]:
        with closing(connect(server)) as connection:
            send_body(connection, path, 8 * MIB, chunked=False)
            connection.settimeout(30)
            assert connection.recv(65536).split()[1] == status, path


BEGINNINGS = {
    "line": b"GET / HT",
    "headers": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "body": b"POST /sign-in/ HTTP/1.1\r\nContent-Length: 9999\r\n\r\nuser",
}


def trickled(server: Server, beginning: bytes) -> tuple[bytes, float]:
    """Begin a request and send one byte now and then. Return the answer, and after how many seconds it was cut off."""
    with closing(connect(server)) as connection:
        connection.sendall(beginning)
        began = time.monotonic()
        connection.settimeout(0.3)
        received = b""
        while time.monotonic() < began + 60:
            try:
                connection.sendall(b"x")
                data = connection.recv(65536)
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                break
            if not data:
                break
            received += data
        return received, time.monotonic() - began


def test_a_request_that_never_ends_is_cut_off_however_slowly_it_comes(server) -> None:
    """One byte now and then, which resets an idle timeout, does not extend the deadline of 2 seconds."""
    with ThreadPoolExecutor(len(BEGINNINGS)) as pool:
        ends = dict(zip(BEGINNINGS, pool.map(lambda each: trickled(server, each), BEGINNINGS.values()), strict=True))
    for name, (received, took) in ends.items():
        assert received.startswith(b"HTTP/1.1 408 "), name
        assert 1.5 < took < 30, name


def test_a_kept_connection_begins_each_request_with_a_new_deadline(server) -> None:
    with httpx.Client(base_url=server.address) as client:
        assert client.get("/sign-in/").status_code == 200
        for _ in range(2):
            time.sleep(1.2)
            assert client.get("/sign-in/").status_code == 200


@contextmanager
def soft_limit(files: int) -> Iterator[None]:
    """Give this process, and what it starts meanwhile, so many open files; most systems start a service with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_open(server: Server, stack: ExitStack, count: int) -> None:
    for number in range(count):
        connection = stack.enter_context(closing(connect(server)))
        half = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n"]
        connection.sendall(half[number % len(half)])


def slowest_page(server: Server, pages: int = 10) -> float:
    """The longest time that a new client from the same address waits for the sign-in page, in seconds."""
    slowest = 0.0
    for _ in range(pages):
        began = time.monotonic()
        with closing(connect(server)) as connection:
            connection.sendall(b"GET /sign-in/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_half_open_connections_beyond_the_limit_close_for_new_ones(server) -> None:
    """The limit is 20 for one address here: of 60, only the newest are left, and pages answer all the same."""
    with ExitStack() as stack:
        half_open(server, stack, 60)
        assert slowest_page(server) < 2
        files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert files < 20 + 60


def test_a_half_sent_request_does_not_keep_the_server_from_ending(tmp_path) -> None:
    with serving(tmp_path, GRACE_SECONDS="0") as server, ExitStack() as stack:
        half_open(server, stack, 4)
        time.sleep(0.5)
        assert server.end(signal.SIGTERM) == 0
        assert "Traceback" not in server.output


@pytest.mark.proof
def test_1100_half_open_connections_leave_the_pages_answering(tmp_path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with soft_limit(1024), serving(tmp_path) as server, soft_limit(min(4096, hard)), ExitStack() as stack:
        half_open(server, stack, 1100)
        slowest = slowest_page(server, 50)
        print(f"1,100 half-open connections: slowest of 50 pages {slowest * 1000:.0f} ms")
        assert slowest < 2


@pytest.mark.parametrize(
    "people", [2 * (passwords.AT_ONCE + PASSWORDS_WAITING), pytest.param(200, marks=pytest.mark.proof, id="proof: 200")]
)
def test_many_who_sign_in_at_once_leave_the_pages_answering(tmp_path, people) -> None:
    """They have threads and a queue of their own; those beyond the queue are asked to come back."""
    with serving(tmp_path) as server, ThreadPoolExecutor(people) as pool:
        administrator(server).close()  # without an account the page has no form
        browser = Browser(server.address)
        browser.get("/sign-in/")
        sent = {"password": "wrong", "csrfmiddlewaretoken": browser.client.cookies["csrftoken"]}
        limits = httpx.Limits(max_connections=people)
        crowd = httpx.Client(base_url=server.address, cookies=browser.client.cookies, timeout=60, limits=limits)

        def sign_in(number: int) -> httpx.Response:
            return crowd.post("/sign-in/", data=sent | {"username": f"somebody{number}"})

        began = time.monotonic()
        tries = pool.map(sign_in, range(people))
        slowest = slowest_page(server)
        answers = list(tries)
        took = time.monotonic() - began
    codes = Counter(response.status_code for response in answers)
    print(f"{people} sign-ins at once: {dict(codes)}, slowest of 10 pages meanwhile {slowest * 1000:.0f} ms")
    assert codes[422] >= 4
    assert codes[503] >= 1
    assert codes[422] + codes[503] + codes[429] == people
    assert slowest < max(1, took / 3)  # on a busy machine, too: a page that waited for them would take as long
    busy = next(response for response in answers if response.status_code == 503)
    assert busy.headers["Retry-After"] == "5"
    assert "Many people are signing in" in busy.text


def test_the_limit_of_open_files_is_raised_at_the_start(tmp_path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard <= 1024:
        pytest.skip("the hard limit leaves nothing to raise")
    with soft_limit(1024), serving(tmp_path) as server:
        assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 16_384)


def test_behind_a_proxy_its_clients_are_counted_not_the_proxy(tmp_path) -> None:
    """The sockets of pages, which stay open: 3 of each client (an IPv6 client is a /64), all from one proxy."""
    with serving(tmp_path) as server:
        cookie = f"sessionid={administrator(server).client.cookies['sessionid']}"
    with serving(tmp_path, BEHIND_PROXY="1", CONNECTIONS_PER_ADDRESS="3") as server, ExitStack() as stack:

        def page_socket(client: str) -> bytes:
            connection = stack.enter_context(closing(connect(server)))
            connection.sendall(
                f"GET /ws/ HTTP/1.1\r\nHost: localhost:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Origin: http://localhost:{server.port}\r\nSec-WebSocket-Version: 13\r\nCookie: {cookie}\r\n"
                f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Forwarded-For: 9.9.9.9, {client}\r\n\r\n".encode()
            )
            return connection.recv(4096).split()[1]

        assert [page_socket("192.0.2.1") for _ in range(5)] == [b"101"] * 3 + [b"429"] * 2
        assert [page_socket("192.0.2.2") for _ in range(3)] == [b"101"] * 3
        assert [page_socket(f"2001:db8::{number:x}") for number in range(4)] == [b"101"] * 3 + [b"429"]
