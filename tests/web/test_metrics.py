"""`/metrics`: who may read it, what requests and sockets leave there, and that it needs no database."""

import asyncio
import re
import time
import urllib.request
from typing import Any

import httpx
import pytest
from channels.testing import WebsocketCommunicator
from django.core.handlers.asgi import ASGIHandler
from django.db import connections

from promptops.api.app import machines
from promptops.api.door import with_api
from promptops.live import snapshots
from promptops.platform import metrics
from promptops.web.health import with_health
from promptops.web.metrics import serve_on_own_port, with_requests, with_sockets
from tests.engine.helpers import limited, provider
from tests.factories import make_provider
from tests.services.server import free_port

TOKEN = "a-token-of-the-metrics"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def value(name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def names(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


async def ask(url: str, application: Any = None, method: str = "GET", **options: Any) -> httpx.Response:
    application = application or with_requests(with_health(with_api(ASGIHandler(), machines)))
    transport = httpx.ASGITransport(application, client=("192.0.2.9", 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        return await client.request(method, url, **options)


@pytest.mark.parametrize(
    ("token", "headers", "status", "sentence"),
    [
        ("", BEARER, 404, "Set METRICS_TOKEN"),
        ("", {"Authorization": "Bearer "}, 404, "Set METRICS_TOKEN"),
        (TOKEN, {}, 401, "Authorization: Bearer"),
        (TOKEN, {"Authorization": f"Bearer {TOKEN}x"}, 401, "Authorization: Bearer"),
        (TOKEN, {"Authorization": f"Basic {TOKEN}"}, 401, "Authorization: Bearer"),
    ],
)
async def test_nobody_reads_metrics_without_the_token(settings, token, headers, status, sentence):
    settings.METRICS_TOKEN = token
    answer = await ask("/metrics", headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")
    assert sentence in answer.text
    assert "promptops_" not in answer.text
    assert ("www-authenticate" in answer.headers) is (status == 401)


async def test_a_scrape_reads_no_database(settings, monkeypatch):
    settings.METRICS_TOKEN = TOKEN

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a scrape opened a connection")

    monkeypatch.setattr(type(connections["default"]), "ensure_connection", refuse)
    answer = await ask("/metrics", headers=BEARER)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert {"promptops_runs", "process_cpu_seconds"} <= {name.removesuffix("_total") for name in names(answer.text)}


async def test_a_metric_that_fails_costs_only_itself(settings, caplog):
    settings.METRICS_TOKEN = TOKEN
    broken = metrics.Read(metrics.GaugeMetricFamily, "promptops_broken", "Broken", (), lambda: 1 / 0)
    metrics.registry.register(broken)
    errors = value("promptops_log_lines_total", level="ERROR")
    try:
        answer = await ask("/metrics", headers=BEARER)
    finally:
        metrics.registry.unregister(broken)
    assert "promptops_build_info{" in answer.text
    assert "The metric promptops_broken cannot be read." in caplog.text
    assert value("promptops_log_lines_total", level="ERROR") == errors + 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "url", "route", "status"),
    [
        ("GET", "/api/v1/problems/unanswered-by-any", "other", "4xx"),
        ("POST", "/api/v1/run/enhance", "/api/v1/run/{operation}", "4xx"),
        ("GET", "/livez", "/livez", "2xx"),
        ("GET", "/metrics", "/metrics", "4xx"),
        ("GET", "/runs/12345/", "/runs/<number:pk>/", "3xx"),
        ("GET", "/no/such/page/of/anybody", "other", "4xx"),
        ("BREW", "/livez", "/livez", "2xx"),
    ],
)
async def test_a_request_counts_under_its_route(method, url, route, status):
    labels = {"route": route, "method": "other" if method == "BREW" else method, "status": status}
    before = value("promptops_http_requests_total", **labels)
    timed = value("promptops_http_request_duration_seconds_count", route=route)
    answer = await ask(url, method=method)
    assert f"{answer.status_code // 100}xx" == status
    assert value("promptops_http_requests_total", **labels) == before + 1
    assert value("promptops_http_request_duration_seconds_count", route=route) == timed + 1


async def test_a_request_that_breaks_counts_as_5xx():
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    labels = {"route": "other", "method": "GET", "status": "5xx"}
    before = value("promptops_http_requests_total", **labels)
    with pytest.raises(RuntimeError):
        await ask("/x", with_requests(broken))
    assert value("promptops_http_requests_total", **labels) == before + 1


@pytest.mark.parametrize(("path", "kind"), [("/ws/", "page"), ("/ws/v1/fleet", "server")])
async def test_open_sockets_count_by_kind(path, kind):
    async def socket(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    communicator = WebsocketCommunicator(with_sockets(socket), path)
    await communicator.connect()
    assert value("promptops_websocket_connections", kind=kind) == 1
    await communicator.disconnect()
    assert value("promptops_websocket_connections", kind=kind) == 0


async def test_the_own_port_needs_no_token(settings):
    settings.METRICS_PORT = free_port()
    serve_on_own_port()
    with pytest.raises(OSError, match="in use"):
        serve_on_own_port()
    address = f"http://127.0.0.1:{settings.METRICS_PORT}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(address, timeout=5).read().decode())
    assert "promptops_runs_total" in text


def test_names_of_a_label_are_bounded():
    label = metrics.Names()
    shown = [label(f"n{number}") for number in range(metrics.MOST_NAMES + 2)]
    assert shown[-3:] == [f"n{metrics.MOST_NAMES - 1}", "other", "other"]
    assert label("n0") == "n0"


@pytest.mark.parametrize(
    ("polled", "failed", "lost"), [(None, None, 1), (0, None, 0), (-9, None, 1), (-1, 0, 1), (0, -1, 0)]
)
def test_a_lost_database_shows(monkeypatch, polled, failed, lost):
    times = [None if age is None else time.monotonic() + age for age in (polled, failed)]
    monkeypatch.setattr(snapshots, "following", snapshots.Following(polled_at=times[0], failed_at=times[1]))
    assert value("promptops_database_lost") == lost


@pytest.mark.django_db
def test_the_health_of_a_provider_shows():
    make_provider("acme", base_url="http://127.0.0.1:9/v1")
    snapshots.current()
    permit = snapshots.health.admit("acme", None)
    assert value("promptops_provider_calls_in_progress", provider="acme") == 1
    assert value("promptops_provider_breaker_state", provider="acme", state="closed") == 1
    snapshots.health.failed(permit, limited(30), provider())
    assert 29 < value("promptops_provider_cooldown_seconds", provider="acme") <= 30
    assert value("promptops_provider_calls_in_progress", provider="acme") == 0
