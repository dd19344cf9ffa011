"""Compression: answers that are compressed, and those that never are."""

import gzip
import re

import pytest
from django.http import HttpRequest
from django.templatetags.static import static
from django.test import Client
from django.urls import reverse

from promptops.compare.actions import prompt_sets
from promptops.people.actions import accounts
from promptops.web.compression import MOST_PADDING, accepts_gzip
from tests.factories import make_run

GZIP = {"Accept-Encoding": "gzip, deflate, br"}


def content_of(response) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("deflate,gzip", True),
        ("", False),
        ("br", False),
        ("*", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, br", False),
        ("gzip;q=0.001", True),
        ("xgzip", False),
    ],
)
def test_only_a_client_that_names_gzip_gets_it(header, expected):
    request = HttpRequest()
    request.META["HTTP_ACCEPT_ENCODING"] = header
    assert accepts_gzip(request) is expected


# ---------------------------------------------------------------- pages


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/prompts/", "/audit/", "/settings/people/", "/commands/"])
def test_pages_for_people_who_are_signed_in_are_compressed(address, client_for, administrator, make_user):
    for number in range(10):
        make_user("viewer", f"person{number}")
    client = client_for(administrator, htmx=address == "/commands/")
    plain, short = client.get(address), client.get(address, headers=GZIP)
    assert not plain.has_header("Content-Encoding")
    assert "Accept-Encoding" in plain["Vary"]
    assert "Accept-Encoding" in short["Vary"]
    assert "Cookie" in short["Vary"]
    assert short["Content-Encoding"] == "gzip"
    assert int(short["Content-Length"]) == len(short.content) < len(plain.content) / 2
    without_tokens = [re.sub(rb"\b\w{64}\b", b"", each) for each in (plain.content, gzip.decompress(short.content))]
    assert without_tokens[0] == without_tokens[1]
    head = client.head(address, headers=GZIP)
    assert head["Content-Encoding"] == "gzip"


@pytest.mark.django_db
def test_the_length_of_a_compressed_page_varies(client_for, viewer):
    client = client_for(viewer)
    lengths = {len(client.get("/settings/", headers=GZIP).content) for _ in range(12)}
    assert len(lengths) > 3
    assert max(lengths) - min(lengths) < MOST_PADDING + 200  # the masked token differs each time, too


@pytest.mark.django_db
def test_answers_that_repeat_the_request_or_show_a_secret_are_never_compressed(
    client_for, administrator, actor, enhance_everywhere
):
    client = client_for(administrator)
    _, token = accounts.invite("viewer", by=actor)
    prompt_set = prompt_sets.create_set("Foxes", ["a fox " * 500], by=actor)
    answers = {
        "a search": client.get("/prompts/?q=fox", headers=GZIP),
        "a filter": client.get("/runs/?status=failed", headers=GZIP),
        "a page of a list": client.get("/audit/?before=3", headers=GZIP),
        "a new one-time link": client.post(reverse("people_invite"), {"role": "viewer"}, headers=GZIP),
        "a refused form": client.post(reverse("template_new"), {"name": "Bad Name"}, headers=GZIP),
        "an invitation": Client().get(reverse("join", args=[token]), headers=GZIP),
        "the sign-in": Client().get("/sign-in/?next=/runs/", headers=GZIP),
        "the sign-in alone": Client().get("/sign-in/", headers=GZIP),
        "an unknown address": client.get("/prompts/none-of-this-name/", headers=GZIP),
        "an export": client.post("/audit/export/", {"format": "csv"}, headers=GZIP),
        "a download": client.get(reverse("prompt_set_text", args=[prompt_set.pk]), headers=GZIP),
        "the health": client.get("/healthz", headers=GZIP),
    }
    assert "/join/" in answers["a new one-time link"].content.decode()
    for name, answer in answers.items():
        assert not answer.has_header("Content-Encoding"), name
        assert "Accept-Encoding" not in answer.get("Vary", ""), name


@pytest.fixture
def enhance_everywhere(publish):
    publish("enhance", "Text " * 500)
    make_run(input="a fox " * 100)


@pytest.mark.django_db
def test_each_page_has_the_token_in_another_form(client_for, viewer):
    """A token that is the same in all answers could be guessed from their lengths."""
    client = client_for(viewer)
    tokens = {re.search(r'"X-CSRFToken": "(\w+)"', client.get("/").content.decode())[1] for _ in range(3)}
    assert len(tokens) == 3


# ---------------------------------------------------------------- static files


@pytest.mark.parametrize("name", ["app.css", "js/main.js", "favicon.svg", "django_htmx/htmx-2.min.js"])
def test_static_files_are_compressed_where_that_is_shorter(name):
    address = static(name)
    plain, short = Client().get(address), Client().get(address, headers=GZIP)
    body = content_of(plain)
    assert not plain.has_header("Content-Encoding")
    assert gzip.decompress(content_of(short)) == body
    assert int(short["Content-Length"]) == len(content_of(Client().get(address, headers=GZIP))) < len(body)
    for header in ("Content-Type", "Cache-Control", "Last-Modified"):
        assert short[header] == plain[header]
    assert plain["Vary"] == short["Vary"] == "Accept-Encoding"


def test_the_two_forms_of_a_file_have_their_own_etags():
    address = static("app.css")
    plain, short = Client().get(address), Client().get(address, headers=GZIP)
    assert plain["ETag"] != short["ETag"]
    again = Client().get(address, headers=GZIP | {"If-None-Match": short["ETag"]})
    assert (again.status_code, content_of(again), again["ETag"]) == (304, b"", short["ETag"])
    assert again["Vary"] == "Accept-Encoding"
    assert again["Cache-Control"] == short["Cache-Control"]
    assert not again.has_header("Content-Type")
    assert Client().get(address, headers={"If-None-Match": plain["ETag"]}).status_code == 304
    assert Client().get(address, headers={"If-None-Match": short["ETag"]}).status_code == 200
    assert Client().get(address, headers=GZIP | {"If-None-Match": '"another"'}).status_code == 200


def test_head_and_ranges_of_static_files():
    address = static("app.css")
    short = Client().get(address, headers=GZIP)
    head = Client().head(address, headers=GZIP)
    assert (head["Content-Length"], head["Content-Encoding"]) == (short["Content-Length"], "gzip")
    assert content_of(head) == b""
    part = Client().get(address, headers=GZIP | {"Range": "bytes=0-9"})
    assert part.status_code == 206
    assert not part.has_header("Content-Encoding")
    assert len(content_of(part)) == 10
    assert Client().post(address, headers=GZIP).status_code == 405
