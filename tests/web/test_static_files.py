"""Static files: addresses with a digest, and how long browsers keep the files."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.finders import FileSystemFinder
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.test import Client, override_settings

from promptops.web.static_files import content_digest, digest


def test_browsers_keep_everything_that_a_page_loads_for_a_year() -> None:
    html = render_to_string("404.html")
    addresses = re.findall(r'(?:href|src)="?(/static/[^" >]+)', html)
    assert len(addresses) > 10
    for address in addresses:
        assert address.startswith(f"/static/{digest()}/")
        response = Client().get(address)
        assert response.status_code == 200, address
        assert response["Cache-Control"] == "max-age=31536000, public, immutable"


def test_modules_import_each_other_under_the_same_digest() -> None:
    main = b"".join(Client().get(static("js/main.js")).streaming_content).decode()
    assert set(re.findall(r'from "(\.?/)', main)) == {"./"}


@pytest.mark.parametrize("prefix", ["", "0123456789abcdef/"])
def test_another_digest_or_none_is_served_but_kept_briefly(prefix: str) -> None:
    response = Client().get(f"/static/{prefix}js/dom.js")
    assert response.status_code == 200
    assert response["Cache-Control"] == "max-age=60, public"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["js/none.js", "", "../manage.py", "%2e%2e/manage.py", "//etc/passwd"])
def test_missing_files_are_404_and_not_kept(name: str) -> None:
    response = Client().get(f"/static/{digest()}/{name}")
    assert response.status_code == 404
    assert "immutable" not in response.get("Cache-Control", "")


def test_the_digest_changes_with_each_file(tmp_path: Path) -> None:
    def changed() -> str:
        with override_settings(STATICFILES_DIRS=[tmp_path]):
            return content_digest([FileSystemFinder()])

    (tmp_path / "a.js").write_text("1")
    first = changed()
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert changed() == first
    (tmp_path / "a.js").write_text("2")
    second = changed()
    (tmp_path / "a.js").rename(tmp_path / "b.js")
    third = changed()
    (tmp_path / "c.js").write_text("")
    assert len({first, second, third, changed()}) == 4


@override_settings(DEBUG=True)
def test_under_debug_files_may_change_while_the_server_runs() -> None:
    assert static("js/main.js") == "/static/js/main.js"
