"""Tests give the routes of a page when they open it: `Pages.open(..., routes=)`.

On a busy machine, Chromium sends the first request after a later `page.route()` past it.
"""

from pathlib import Path

from django.conf import settings

REGISTERS = (".route(", ".route_from_har(")


def registering(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if any(name in line for name in REGISTERS)]


def test_only_the_opener_of_pages_registers_routes() -> None:
    tests: Path = settings.BASE_DIR / "tests"
    found = [line for path in tests.rglob("*.py") if path != Path(__file__) for line in registering(path.read_text())]
    assert found == ["page.route(address, handler)"]  # in tests/browser/conftest.py
