"""The list of templates, new templates, the Details page, and unknown addresses."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from promptops.ledger.models import AuditEntry
from promptops.prompts.models import Template, Version
from tests.prompts.pages import form, text_of

pytestmark = pytest.mark.django_db


def test_the_list_shows_what_is_live(enhance, publish, client_for, viewer):
    publish("noir", "Dark", operation="enhance", note="<script>alert(1)</script>")
    page = client_for(viewer).get(reverse("prompts")).content.decode()
    assert "v1" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert reverse("template", args=["noir"]) in page


@pytest.mark.parametrize("name", ["overview", "prompts", "template_history"])
def test_queries_do_not_grow_with_rows(name, enhance, publish, client_for, viewer):
    client, arguments = client_for(viewer), ["enhance"] if name == "template_history" else []
    counts = []
    for count in (2, 30):
        for number in range(Version.objects.count(), count):
            publish("enhance", f"Text {number}")
            publish(f"t{number}", f"Text {number}", operation="enhance")
        client.get(reverse(name, args=arguments))
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse(name, args=arguments)).status_code == 200
        counts.append(len(captured))
    assert counts[0] == counts[1]


def test_overview_shows_what_is_live_and_warns_of_built_in_text(enhance, client_for, viewer):
    page = text_of(client_for(viewer).get(reverse("overview")))
    assert "from files" in page
    assert "Ada Administrator published enhance v1" in page
    assert page.count("built in nothing live") == 2
    assert "none on Runs fail until" in page


def test_a_viewer_sees_the_live_text_without_controls(enhance, client_for, viewer):
    page = client_for(viewer).get(reverse("template", args=["enhance"])).content.decode()
    assert "First line.\nSecond line." in page
    assert "<textarea" not in page


def test_a_new_template_starts_empty_and_gets_its_first_version(client_for, releaser):
    client = client_for(releaser)
    assert client.post(reverse("template_new"), {"operation": "enhance", "name": "Bad Name"}).status_code == 422
    made = client.post(reverse("template_new"), {"operation": "enhance", "name": "noir", "description": "Dark"})
    assert made["Location"] == "/prompts/noir/"
    template = Template.objects.get()
    assert template.is_default
    client.post(reverse("template_draft", args=["noir"]), form(template, "Dark."))
    assert "Publish v1" in client.get("/prompts/noir/").content.decode()
    done = client_for(releaser, htmx=True).post(reverse("template_publish", args=["noir"]), form(template, "Dark."))
    assert done["HX-Redirect"] == "/prompts/noir/?published=1"
    assert client.get("/prompts/noir/?published=1").status_code == 200


def test_default_archive_and_restore_use_the_panel(enhance, publish, client_for, releaser):
    publish("noir", "Dark", operation="enhance")
    client = client_for(releaser, htmx=True)
    for name, template, expected in [
        ("template_default", "noir", ("noir", True, False)),
        ("template_archive", "enhance", ("enhance", False, True)),
        ("template_restore", "enhance", ("enhance", False, False)),
    ]:
        url = reverse(name, args=[template])
        before = AuditEntry.objects.count()
        assert client.post(url).status_code == 200
        assert AuditEntry.objects.count() == before
        assert client.post(url, {"confirm": "1"})["HX-Redirect"] == f"/prompts/{template}/details/"
        changed = Template.objects.get(name=template)
        assert (changed.name, changed.is_default, bool(changed.archived_at)) == expected
    refused = client.post(reverse("template_archive", args=["noir"]), {"confirm": "1"})
    assert refused.status_code == 409
    assert "Make another template the default first" in refused.content.decode()


def test_unknown_addresses_are_not_found(enhance, client_for, viewer):
    client = client_for(viewer)
    for url in (
        "/prompts/nothing/",
        "/prompts/enhance/v9/",
        "/runs/9/",
        "/audit/999/",
        "/audit/9223372036854775808/",
        "/nowhere/",
    ):
        response = client.get(url)
        assert response.status_code == 404
        assert "sidebar" not in response.content.decode()
