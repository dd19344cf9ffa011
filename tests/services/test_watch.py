"""Metrics, log lines and traces of a real server, whose collector takes connections and never answers."""

import json
import signal
import socket
import time
from pathlib import Path

import httpx

from tests.services.server import administrator, free_port, manage, serving

TOKEN = "a-token-of-the-metrics"


def sample(text: str, line: str) -> float:
    """Return the value of the sample that begins with `line`; 0 without one."""
    return next((float(each.split()[-1]) for each in text.splitlines() if each.startswith(line)), 0.0)


async def test_a_server_is_watched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        settings = {
            "METRICS_TOKEN": TOKEN,
            "METRICS_PORT": str(free_port()),
            "LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.getsockname()[1]}",
        }
        with serving(tmp_path, **settings) as server:
            own = f"http://127.0.0.1:{settings['METRICS_PORT']}/metrics"
            browser = administrator(server)
            # One connection for all: each request has an id of its own.
            async with httpx.AsyncClient(base_url=server.address) as client:
                async with browser.page() as page:
                    await page.receive_str(timeout=5)
                    bearer = {"Authorization": f"Bearer {TOKEN}", "X-Request-Id": "other"}
                    text = (await client.get("/metrics", headers=bearer)).text
                    assert sample(text, 'promptops_websocket_connections{kind="page"}') == 1
                assert sample(text, 'promptops_http_requests_total{method="POST",route="/setup/<str:token>/"') == 1
                assert sample(text, "promptops_database_lost") == 0
                assert sample(text, "promptops_live_revision") >= 1
                assert sample((await client.get(own)).text, "promptops_live_revision") >= 1
                await client.get("/", headers={"Host": "evil.example", "X-Request-Id": "job-17"})
            line = json.loads(server.wait_for(r"Invalid HTTP_HOST"))
            assert (line["level"], line["request"]) == ("ERROR", "job-17")
            began = time.monotonic()
            assert server.end(signal.SIGTERM) == 0
            assert time.monotonic() - began < 8  # it gives the collector 2 s


def test_a_short_token_of_the_metrics_is_refused(tmp_path: Path) -> None:
    done = manage(tmp_path, "serve", METRICS_TOKEN="secret", PORT=str(free_port()))
    assert done.returncode == 1
    assert "METRICS_TOKEN has 6 characters; use 20 or more" in done.stderr
    assert "Traceback" not in done.stderr
