"""Addresses that answer a part of a page: opened directly, they lead to a whole page."""

import pytest
from django.urls import reverse

from tests.invariants.test_permissions import arguments, patterns, world  # noqa: F401 -- a fixture


@pytest.mark.django_db
def test_no_address_shows_a_bare_part(world, client_for, administrator):  # noqa: F811
    client = client_for(administrator)
    bare = []
    for pattern in patterns():
        response = client.get(reverse(pattern.name, kwargs=arguments(pattern, world)))
        is_html = response.headers.get("Content-Type", "").startswith("text/html")
        if is_html and response.content and b"<!doctype html" not in response.content[:200].lower():
            bare.append((pattern.name, response.status_code))
    assert not bare, "\n".join(map(str, bare))


@pytest.mark.django_db
def test_a_part_leads_to_its_own_page(world, client_for, administrator):  # noqa: F811
    client = client_for(administrator)
    for part, page in (
        (reverse("release_requests_own"), reverse("overview")),
        (reverse("template_presence", args=["enhance"]), reverse("template", args=["enhance"])),
        (reverse("rollout", args=[1]), reverse("revision", args=[1])),
    ):
        response = client.get(part, follow=True)
        assert response.redirect_chain == [(page, 302)]
        assert response.status_code == 200
