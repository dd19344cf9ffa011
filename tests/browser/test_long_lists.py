"""Fields and pages that fetch or share their long lists."""

import pytest
from playwright.sync_api import expect

from promptops.prompts.models import Template
from promptops.web.filters import FEW_NAMES
from tests.browser.conftest import snap

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def many(publish) -> None:
    names = [f"style-{number:03}" for number in range(FEW_NAMES + 10)]
    Template.objects.bulk_create([Template(name=name, operation="enhance") for name in names])
    for name in names[:3]:
        publish(name, f"The text of {name}.")


def test_a_filter_suggests_names_and_filters_when_one_is_chosen(many, viewer, page_for) -> None:
    page = page_for(viewer, "/runs/")
    field = page.get_by_label("Template")
    with page.expect_response("**/template-names/*"):
        field.focus()
    expect(page.locator("#filter-template-names option")).to_have_count(FEW_NAMES + 10)
    field.fill("style-002")
    field.press("Tab")
    page.wait_for_url("**/runs/?template=style-002*")
    expect(page.get_by_role("heading", name="No runs here")).to_be_visible()
    field.fill("style-0")
    field.press("Tab")
    expect(page.get_by_text("This choice does not exist")).to_be_visible()


def test_all_arms_of_a_new_comparison_offer_the_same_texts(many, editor, page_for) -> None:
    page = page_for(editor, "/compare/new/")
    texts = [page.locator(f"#id_{letter}-text") for letter in "abcd"]
    offered = [text.locator("option").all_inner_texts() for text in texts]
    assert offered[0] == offered[1] == offered[2] == offered[3]
    assert len(offered[0]) == 4
    assert [text.evaluate("field => field.selectedIndex") for text in texts] == [1, 2, 0, 0]


def test_templates_are_found_by_operation_and_page(many, editor, page_for) -> None:
    Template.objects.create(name="usual", operation="rewrite")
    page = page_for(editor, "/prompts/")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**/prompts/?page=2")
    page.get_by_role("navigation", name="Operation").get_by_role("link", name="rewrite").click()
    page.wait_for_url("**/prompts/?operation=rewrite")
    expect(page.locator("#templates tbody tr")).to_have_count(1)
    snap(page, "prompts-of-an-operation")
