"""Every page, empty and full, in both themes and at both widths: axe finds nothing and nothing runs off the side.

A full page is looked at twice; the looks are spread over the sets of data. `make proof` has all looks of each.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import expect

from promptops.compare.models import Comparison, PromptSet
from promptops.fleet.models import Server
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.people.actions import accounts
from promptops.people.models import User
from promptops.prompts.models import Variable
from promptops.providers.models import Provider
from promptops.runs.models import Run
from tests.browser import data
from tests.browser.conftest import WAIT_MS, WIDTHS, Pages
from tests.browser.looks import HEIGHTS, OTHER_LOOKS, Looks, faults, in_looks, look, told

# Name of the screenshot -> address.
EVERYWHERE = {
    "overview": "/",
    "prompts": "/prompts/",
    "prompts-archived": "/prompts/?archived=1",
    "prompt-new": "/prompts/new/",
    "variables": "/variables/",
    "variable-new": "/variables/new/",
    "operations": "/operations/",
    "operation-new": "/operations/new/",
    "operation": "/operations/enhance/",
    "requests": "/release-requests/",
    "requests-ended": "/release-requests/?ended=1",
    "providers": "/providers/",
    "provider-new": "/providers/new/",
    "comparisons": "/compare/",
    "comparison-new": "/compare/new/",
    "sets": "/compare/sets/",
    "sets-archived": "/compare/sets/?archived=1",
    "set-new": "/compare/sets/new/",
    "runs": "/runs/",
    "runs-none": "/runs/?status=canceled&source=test&start=2001-01-01&end=2001-01-02",
    "runs-masked": "/runs/?safety=masked",
    "safety": "/safety/",
    "safety-try": "/safety/try/",
    "safety-queue": "/safety/queue/",
    "safety-models": "/safety/models/",
    "safety-terms": "/safety/terms/",
    "safety-thresholds": "/safety/thresholds/?violence=0.3&hate=1",
    "audit": "/audit/",
    "timeline": "/timeline/",
    "timeline-moment": "/timeline/?at=2199-01-01T12:00:00Z",
    "search-none": "/prompts/?q=nothing+holds+this",
    "fleet": "/fleet/",
    "fleet-none": "/fleet/?q=no-such-server",
    "levers": "/levers/",
    "settings": "/settings/",
    "tokens": "/settings/tokens/",
    "api": "/settings/api/",
    "people": "/settings/people/",
    "own-password": "/account/password/",
    "sessions": "/account/sessions/",
    "prompt-files": "/prompt-files/",
    "prompt-import": "/prompt-import/",
}
OF_A_TEMPLATE = {
    "edit": "/prompts/enhance/",
    "history": "/prompts/enhance/history/",
    "version": "/prompts/enhance/v40/",
    "version-long-note": "/prompts/enhance/v2/",
    "diff": "/prompts/enhance/diff/?a=39&b=draft",
    "diff-side": "/prompts/enhance/diff/?a=38&b=live&view=side",
    "diff-inline": "/prompts/enhance/diff/?a=1&b=2&view=inline",
    "timeline-template": "/timeline/?template=enhance",
    "revision": "/revisions/41/",
    "search": "/prompts/?q=camera",
    "details": "/prompts/enhance/details/",
}


def test_pages_of_an_empty_installation(administrator, page_for, pages: Pages) -> None:
    """In one look each: the frame and the words are those of the full pages."""
    page = page_for(administrator)
    found = []
    for place, (name, address) in enumerate(EVERYWHERE.items()):
        found += look(page, "empty", {name: address}, (OTHER_LOOKS[place % 2],))
    assert not found, told(found)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy of the full database."""
    return tmp_path_factory.mktemp("full") / "full.sqlite3"


@pytest.fixture
def full(site, make_user, copy: Path) -> User:
    """Fill the database and return its administrator. SQLite copies what was filled once: filling takes seconds."""
    connection.ensure_connection()
    if copy.exists():
        with closing(sqlite3.connect(copy)) as source:
            source.backup(connection.connection)
        return User.objects.get(username="ada")
    administrator = make_user("administrator", "ada", "Ada Administrator")
    data.fill(administrator)
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(copy)) as target:
            connection.connection.backup(target)
    return administrator


@in_looks  # 60 pages: 30 s
def test_full_pages(looks: Looks, full: User, page_for, pages: Pages) -> None:
    assert AuditEntry.objects.count() > 100
    page = page_for(full)
    found = look(page, "full", EVERYWHERE | OF_A_TEMPLATE, looks)
    assert not found, told(found)
    page.set_viewport_size({"width": 2560, "height": HEIGHTS[2560]})
    lists = ("/runs/", "/prompts/", "/variables/", "/operations/", "/release-requests/", "/audit/", "/timeline/")
    for address in ("/", *lists, OF_A_TEMPLATE["history"], OF_A_TEMPLATE["diff-side"]):
        page.goto(address)
        assert page.locator("main").bounding_box()["width"] > 2000, address


@in_looks  # 30 pages: 15 s
def test_pages_of_single_things(looks: Looks, full: User, page_for, pages: Pages) -> None:
    page = page_for(full)
    found = look(page, "full", {"comparison-blind": f"/compare/{Comparison.objects.get().pk}/"}, looks)
    page.get_by_role("button", name="Show it").click()
    expect(page.locator("#answers-title")).to_be_visible()
    providers, sets = Provider.objects, PromptSet.objects
    failed = Run.objects.filter(status="failed").first()
    answered, flagged, unjudged = (
        Run.objects.filter(status="succeeded", **narrowed).first()
        for narrowed in ({"fallback_used": True}, {"input_masked": True}, {"safety_checks__decision": "unavailable"})
    )
    rewrite = Run.objects.filter(operation="rewrite", status="succeeded").first()
    published = AuditEntry.objects.filter(action="template.published", object_name="enhance").first()
    details = {
        "provider": f"/providers/{providers.filter(kind='openai', enabled=True).first().pk}/",
        "providers-open": f"/providers/?open={providers.first().pk}&open={providers.last().pk}",
        "provider-off": f"/providers/{providers.filter(enabled=False).first().pk}/",
        "variable": f"/variables/{Variable.objects.get(name='mood_1').pk}/",
        "comparison": f"/compare/{Comparison.objects.get().pk}/",
        "vote": f"/compare/{Comparison.objects.get().pk}/vote/",
        "answers-none": f"/compare/{Comparison.objects.get().pk}/?show=disagreeing",
        "pair": f"/compare/{Comparison.objects.get().pk}/?pair=2",
        "report": f"/compare/{Comparison.objects.get().pk}/report/",
        "comparison-repeat": f"/compare/new/?repeat={Comparison.objects.get().pk}",
        "set": f"/compare/sets/{sets.get(name='Starter set').pk}/",
        "set-long": f"/compare/sets/{sets.get(input_count=120).pk}/",
        "set-edit": f"/compare/sets/{sets.get(name='Starter set').pk}/edit/",
        "set-from-runs": "/compare/sets/new/?operation=enhance&newest=100",
        "run-failed": f"/runs/{failed.pk}/",
        "run": f"/runs/{answered.pk}/",
        "run-blocked": f"/runs/{Run.objects.get(status='blocked').pk}/",
        "run-flagged": f"/runs/{flagged.pk}/",
        "run-unjudged": f"/runs/{unjudged.pk}/",
        "run-of-token": f"/runs/{Run.objects.get(source='api').pk}/",
        "server": f"/fleet/servers/{Server.objects.get(name='gpu-3').pk}/",
        "server-silent": f"/fleet/servers/{Server.objects.get(name='gpu-5').pk}/",
        "fleet-refused": "/fleet/?state=refused",
        "run-rewrite": f"/runs/{rewrite.pk}/",
        "runs-filtered": "/runs/?status=failed&template=enhance",
        "audit-entry": f"/audit/{published.seq}/",
        "audit-filtered": "/audit/?action=template&start=2020-01-01",
        "audit-search": "/audit/?q=published+enhance",
        "audit-verify": "/audit/verify/",
        "audit-bad": f"/audit/verify/?pin=1:{'a' * 64}",
        "edit-empty": "/prompts/auto_extend-21-long-name-long-name-long-name-x/",
        "archived": "/prompts/auto_extend-12-long-name-long-name-long-name-x/details/",
    }
    found += look(page, "full", details, looks)
    assert not found, told(found)


def test_full_pages_of_a_viewer(full: User, viewer, page_for) -> None:
    addresses = {name: EVERYWHERE[name] for name in ("providers", "settings")}
    addresses |= {name: OF_A_TEMPLATE[name] for name in ("edit", "details")}
    found = look(page_for(viewer), "viewer", addresses, OTHER_LOOKS)
    assert not found, told(found)


def test_pages_of_somebody_signed_out(site, pages: Pages, administrator) -> None:
    pages.expect_errors("status of (403|404|410|422)")
    by = Actor.person(administrator)
    page = pages.open("/sign-in/")
    addresses = {
        "sign-in": "/sign-in/",
        "join": f"/join/{accounts.invite('releaser', by=by)[1]}/",
        "password-by-link": f"/password/{accounts.make_password_link(administrator, by=by)}/",
        "dead-link": "/join/no-such-token/",
        "not-found": "/no/such/page/",
    }
    found = look(page, "bare", addresses)
    page.goto("/sign-in/")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("form")).to_contain_text("is wrong")
    found += faults(page, "bare-sign-in-refused")
    assert not found, told(found)


def test_first_and_forbidden_page(site, pages: Pages) -> None:
    page = pages.open(f"/setup/{accounts.make_setup_link()}/")
    found = faults(page, "bare-setup")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_label("Repeat the password").fill("shorter")
    pages.expect_errors("status of (422|403)")
    page.get_by_role("button", name="Create administrator and sign in").click()
    expect(page.locator(".error").first).to_be_visible()
    found += faults(page, "bare-setup-refused")
    assert not found, told(found)


def test_forbidden_page(viewer, page_for, pages: Pages) -> None:
    pages.expect_errors("status of 403")
    found = faults(page_for(viewer, "/settings/people/"), "forbidden")
    assert not found, told(found)


@in_looks  # 18 pages: 20 s
def test_dialogs(looks: Looks, full: User, page_for, pages: Pages) -> None:
    """Panels and menus over full pages."""
    page = page_for(full)
    found = []

    def opened(name: str, address: str, press, shows: str) -> None:
        page.set_viewport_size({"width": 1440, "height": WIDTHS[1440]})
        page.goto(address)
        press()
        expect(page.locator(shows).first).to_be_visible()
        found.extend(faults(page, f"dialog-{name}", looks, part=shows))

    def button(name: str):
        return lambda: page.get_by_role("button", name=name).first.click()

    def complete() -> None:
        page.get_by_label("System prompt").press_sequentially("{{")

    def smoke_run() -> None:
        page.get_by_label("System prompt").fill("In the mood: {{ mood_1 }}.")
        page.get_by_role("button", name="Publish v2").click()
        page.get_by_role("button", name="Start the smoke run").click()
        expect(page.locator("#smoke-1-live")).not_to_have_text("waiting", timeout=3 * WAIT_MS)

    def provider_menu() -> None:
        page.get_by_label("More for provider-1", exact=True).click()

    def turn_off() -> None:
        provider_menu()
        page.get_by_role("button", name="Turn provider-1 off").click()

    opened("command-bar", "/", lambda: page.keyboard.press("Control+k"), "#commands[open]")
    opened("shortcuts", "/", lambda: page.keyboard.press("?"), "#shortcuts[open]")
    opened("account", "/", lambda: page.locator("details.menu summary").last.click(), "details.menu[open] .panel")
    opened("publish", "/prompts/enhance/", button("Publish v41"), "#review[open]")
    opened("discarded", "/prompts/enhance/", button("discarded draft"), "#review[open] details")
    opened("smoke-run", "/prompts/moods/", smoke_run, "#smoke")
    opened("samples", "/prompts/enhance/", lambda: page.get_by_text("Sample inputs", exact=True).click(), "#samples")
    opened("completion", "/prompts/enhance/", complete, "#completion")
    opened("roll-back", "/prompts/enhance/v2/", button("Roll back to v2"), "#review[open]")
    opened("invitation", "/settings/people/", button("Make an invitation link"), "#review[open]")
    opened("role", "/settings/people/", button("Change the role of"), "#review[open]")
    opened("provider-menu", "/providers/", provider_menu, ".provider .menu[open] .panel")
    opened("turn-off", "/providers/", turn_off, "#review[open]")
    opened("rotation", "/settings/tokens/", button("Rotate token-1"), "#review[open]")
    compared = f"/compare/{Comparison.objects.get().pk}/"
    page.goto(compared)
    page.get_by_role("button", name="Show it").click()
    opened("release-arm", compared, button("Make v3 of enhance live"), "#review[open]")
    opened("provider-first", compared, button("Make provider-4 first"), "#review[open]")
    opened("erase", f"/runs/{Run.objects.first().pk}/", button("Erase the text"), "#review[open]")
    assert not found, told(found)
