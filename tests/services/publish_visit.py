"""A machine at an installation: `python -m tests.services.publish_visit HOST TOKEN TEXT ADDRESS...`

It publishes TEXT as the next version of `enhance` at the first address, and prints for each address after how many
seconds TEXT is live there. HOST is the name under which people reach the installation.
"""

import json
import sys
import time
from typing import Any

import httpx

NOTICED_SECONDS = 5
"""The promise of docs/install.md: `health_interval` and `health_timeout` of deploy/Caddyfile."""


def publish_and_wait(host: str, token: str, text: str, *addresses: str) -> list[float]:
    """Return for each address the seconds from the answer of the first one until the text is live."""
    headers = {"Authorization": f"Bearer {token}", "Host": host, "X-Forwarded-Proto": "https"}
    clients = [httpx.Client(base_url=address, headers=headers, verify=False, timeout=60) for address in addresses]
    version = next(_live(client)["version"] for client in clients)
    body = {"text": text, "expected": version, "note": "A change"}
    _publish(clients[0], body)
    began = time.monotonic()
    return [_wait(client, text) - began for client in clients]


def _publish(client: httpx.Client, body: dict[str, Any]) -> None:
    """Publish, again after a 502 of the proxy, for as long as it may not have noticed that a process died.

    Caddy loses the body of a change that it sends to a dead process first (https://github.com/caddyserver/caddy/issues/5454
    and 7546, seen with 2.6.2). If the change had happened all the same, `expected` would have the second one refused.
    """
    until = time.monotonic() + NOTICED_SECONDS
    while (answer := client.post("/api/v1/templates/enhance/publish", json=body)).status_code == 502:
        assert time.monotonic() < until, answer.text
        time.sleep(0.1)
    answer.raise_for_status()


def _live(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/api/v1/templates/enhance")
    answer.raise_for_status()
    return dict(answer.json())


def _wait(client: httpx.Client, text: str) -> float:
    """Return the time at which the text is live."""
    until = time.monotonic() + 20
    while _live(client)["text"] != text:
        assert time.monotonic() < until, f"not live at {client.base_url}"
        time.sleep(0.01)
    return time.monotonic()


if __name__ == "__main__":
    print(json.dumps(publish_and_wait(*sys.argv[1:])))
