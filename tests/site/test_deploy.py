"""Django's checks for production settings, in a process of its own: the settings are made at the start."""

import re
from pathlib import Path

import pytest

from tests.services.server import manage

PRODUCTION = {
    "DJANGO_ALLOW_ASYNC_UNSAFE": "",  # of the tests
    "BEHIND_PROXY": "1",
    "ALLOWED_HOSTS": "promptops.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://promptops.example.org",
}


@pytest.mark.parametrize(
    ("more", "warnings"),
    [({}, []), ({"HSTS_SECONDS": "0", "SECRET_KEY": "k" * 32}, ["security.W004", "security.W009"])],
)
def test_production_settings_have_no_warning_but_those_that_somebody_chose(
    tmp_path: Path, more: dict[str, str], warnings: list[str]
) -> None:
    done = manage(tmp_path, "check", "--deploy", "--fail-level=WARNING", **PRODUCTION, **more)
    assert re.findall(r"\w+\.[WE]\d+", done.stderr) == warnings
    assert done.returncode == bool(warnings)
