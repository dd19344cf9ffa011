"""Pages that are open while a backup is restored."""

import pytest
from playwright.sync_api import expect

from promptops.ledger.models import LiveConfiguration
from promptops.ledger.models.releases import new_epoch
from promptops.prompts.models import Template

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def restore(publish):
    """Publish two versions; return what puts the database back to the first one, as another process would."""
    first = publish("enhance", "Before the backup.", note="the first one")
    publish("enhance", "After the backup.", note="the second one")

    def put_back() -> None:
        Template.objects.update(live_version=first)
        LiveConfiguration.objects.update(revision=1, epoch=new_epoch())

    return put_back


def test_an_open_page_shows_the_restored_state_by_itself(page_for, pages, viewer, restore):
    page = pages.connected(page_for(viewer, "/prompts/enhance/"))
    expect(page.locator("#live-badge")).to_contain_text("r2 live")
    page.evaluate("window.isTheSamePage = true")
    restore()
    expect(page.locator("#live-badge")).to_contain_text("r1 live")
    assert page.evaluate("window.isTheSamePage") is None  # all of it is new
    assert page.locator("body").get_attribute("data-revision") == "1"


def test_a_page_that_connects_again_after_the_restore_reloads(page_for, pages, site, viewer, restore):
    page = pages.connected(page_for(viewer))
    expect(page.locator("#live-badge")).to_contain_text("r2 live")
    site.drop_sockets(refuse=True)
    restore()
    site.accept_sockets()
    expect(page.locator("#live-badge")).to_contain_text("r1 live")


def test_typed_text_is_not_lost_to_the_reload(page_for, pages, administrator, restore):
    page = pages.connected(page_for(administrator, "/prompts/new/"))
    name = page.locator("input[name=name]")
    name.fill("noir")
    restore()
    expect(page.get_by_text("A backup was restored. Copy what you are writing")).to_be_visible()
    expect(name).to_have_value("noir")
    expect(page.locator("#live-badge")).to_contain_text("r1 live")
