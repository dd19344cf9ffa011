"""Two people hand a draft over: an editor asks for its release, a releaser sends it back, then publishes it."""

import pytest
from playwright.sync_api import Page, expect

from promptops.ledger.audit import Actor
from promptops.people.models import User
from promptops.prompts.actions.drafts import save_draft
from promptops.prompts.actions.handover import ask, send_back
from promptops.prompts.content import Content
from promptops.prompts.models import ReleaseRequest, Template, Version
from tests.browser.editor import body
from tests.browser.looks import faults, in_looks, look, told
from tests.factories import publish

ARABIC = "اجعل الضوء أكثر دفئًا في المشهد الأول، ولا تغيّر الباقي."


@pytest.fixture
def enhance(publish) -> Template:
    return publish("enhance", "The first text.", note="First").template


def waiting(page: Page):
    return page.locator("#requests-count")


def test_an_editor_asks_and_a_releaser_answers(enhance, editor, releaser, pages, page_for) -> None:
    overview = pages.connected(page_for(releaser, "/"))
    expect(waiting(overview)).to_be_hidden()
    writing = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(writing).fill("The first text, warmer.")
    writing.get_by_role("button", name="Ask for a release").click()
    writing.get_by_label("Note").fill("Warmer light")
    writing.locator("#review").get_by_role("button", name="Ask for a release").click()
    expect(writing.locator("#own-request")).to_contain_text("Release asked for")

    expect(waiting(overview)).to_have_text("1 request for a release")
    overview.get_by_role("link", name="Requests").click()
    overview.get_by_role("link", name="enhance").click()
    expect(overview.locator("ins")).to_contain_text("warmer")
    overview.get_by_label("Comment for").fill("Say which light.")
    overview.get_by_role("button", name="Send back").click()
    expect(overview.get_by_text("The request is back with Eddie Editor.")).to_be_visible()
    expect(waiting(overview)).to_be_hidden()

    expect(writing.locator("#own-request")).to_contain_text("Say which light.")
    body(writing).fill("The first text, with warmer evening light.")
    writing.get_by_role("button", name="Update the request").click()
    writing.locator("#review").get_by_role("button", name="Update the request").click()
    expect(writing.locator("#own-request")).to_contain_text("Release asked for")

    expect(waiting(overview)).to_have_text("1 request for a release")
    overview.get_by_role("link", name="enhance").click()
    overview.get_by_role("button", name="Publish…").click()
    expect(overview.locator("#review").get_by_label("Note")).to_have_value("Warmer light")
    overview.get_by_role("button", name="Publish v2").click()
    expect(overview.get_by_text("v2 is live since revision")).to_be_visible()
    expect(writing.locator("#release-news")).to_contain_text("v2")
    expect(writing.locator("#own-request")).to_be_hidden()
    version = Version.objects.get(number=2)
    assert (version.body, version.author) == ("The first text, with warmer evening light.", editor)


def test_a_link_carries_a_draft_to_another_editor(enhance, editor, administrator, pages, page_for) -> None:
    writing = pages.connected(page_for(editor, "/prompts/enhance/"))
    body(writing).fill("The first text, shared.")
    writing.get_by_role("button", name="Share").click()
    link = writing.get_by_label("Link").input_value()
    reading = pages.connected(page_for(administrator, link))
    expect(reading.get_by_text("Eddie Editor shared this text")).to_be_visible()
    reading.get_by_role("button", name="Open in my editor").click()
    reading.wait_for_url("**/prompts/enhance/")
    expect(body(reading)).to_have_value("The first text, shared.")


def many_requests(count: int) -> None:
    """Ask for `count` releases with long and foreign texts. Some have conflicts with what is live."""
    long = "\n".join(
        f"{number}. Keep the camera still while the lanterns rise over the square." for number in range(80)
    )
    templates = [publish(f"scene-{number}", f"{long}\nText {number}.", operation="enhance") for number in range(5)]
    for number in range(count):
        user = User(
            username=f"e{number}", name=["Zoë Long-Surname de la Fontaine", "李小龍", "سلمى"][number % 3], role="editor"
        )
        user.save()
        version = templates[number % 5]
        text = [f"{long}\nText of {number}.", f"{long}\n{ARABIC}", f"{long}\n" + "x" * 300][number % 3]
        save_draft(version.template, Content(text), user=user, base=version.pk)
        note = ["", ARABIC, "A long reason that explains in many words why this text should go live today. " * 5][
            number % 3
        ]
        ask(version.template, by=Actor.person(user), note=note)
    publish("scene-1", f"{long}\nAnother text.")


@in_looks
@pytest.mark.parametrize("count", [0, 50], ids=["empty", "full"])
def test_looks(count, looks, enhance, releaser, pages) -> None:
    if count:
        many_requests(count)
    page = pages.open("/", releaser)
    addresses = {"list": "/release-requests/", "ended": "/release-requests/?ended=1", "overview": "/"}
    if count:
        of_template = ReleaseRequest.objects.order_by("pk").filter(template__name="scene-1")
        addresses |= {"conflict": f"/release-requests/{of_template[0].pk}/"}
        plain = ReleaseRequest.objects.order_by("pk").filter(template__name="scene-2")
        addresses |= {"detail": f"/release-requests/{plain[1].pk}/"}
    found = look(page, f"requests-{count}", addresses, looks)
    assert not found, told(found)
    if count:
        page.get_by_role("button", name="Publish…").click()
        expect(page.locator("#review")).to_be_visible()
        found = faults(page, "requests-panel", looks)
        assert not found, told(found)


@in_looks
def test_looks_of_the_editor(looks, enhance, editor, releaser, pages) -> None:
    save_draft(enhance, Content(f"The first text.\n{ARABIC}"), user=editor, base=enhance.live_version_id)
    asked = ask(enhance, by=Actor.person(editor), note=ARABIC)
    send_back(asked, "Say which light. " * 20, by=Actor.person(releaser), edition=1)
    page = pages.open("/", editor)
    found = look(page, "handover", {"overview": "/", "editor": "/prompts/enhance/"}, looks)
    page.get_by_role("button", name="Update the request").click()
    expect(page.locator("#review")).to_be_visible()
    found += faults(page, "handover-ask", looks)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_label("Link")).to_be_visible()
    found += faults(page, "handover-share", looks)
    found += look(page, "handover", {"shared": page.get_by_label("Link").input_value()}, looks)
    expect(page.locator(".diff .insert .text")).to_have_css("direction", "rtl")
    save_draft(enhance, Content("Also mine."), user=releaser, base=enhance.live_version_id)
    found += look(pages.open("/", releaser), "handover-releaser", {"editor": "/prompts/enhance/"}, looks)
    assert not found, told(found)
