"""Pages do not move after they are shown: the layout shift of each main page, on a phone and on a desk.

Every page comes in two halves, with a pause between them, as over a slow network.
"""

from itertools import cycle, product

import pytest

from promptops.ledger.models import AuditEntry
from promptops.runs.models import Run
from tests.browser import data
from tests.browser.conftest import WIDTHS

MOST = 0.02
ADDRESSES = [
    "/",
    "/prompts/",
    "/prompts/enhance/history/",
    "/providers/",
    "/compare/",
    "/runs/",
    "/safety/",
    "/fleet/",
    "/audit/",
    "/timeline/",
    "/revisions/41/",
    "/settings/",
    "/settings/people/",
]
WATCH = """
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries()) {
      if (!hadRecentInput) shifts.push([value, sources.map(({ node }) => node?.outerHTML?.slice(0, 160) ?? "text")]);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
# The observer is called after the frame that shows what the script of the page has changed.
SETTLED = """async () => {
  await document.fonts.ready;
  for (let frame = 0; frame < 4; frame += 1) await new Promise(requestAnimationFrame);
  await new Promise((heard) => setTimeout(heard, 50));
  return shifts;
}"""


# 15 pages with a pause in each: 10 s. One after the other is a page of a desk and of a phone.
@pytest.mark.parametrize(
    "combine",
    [
        pytest.param(lambda addresses: zip(addresses, cycle(WIDTHS), strict=False), id="a width each"),
        pytest.param(lambda addresses: product(addresses, WIDTHS), id="proof: both widths", marks=pytest.mark.proof),
    ],
)
def test_nothing_moves_after_a_page_is_shown(combine, make_user, page_for, pages, site) -> None:
    administrator = make_user("administrator", "ada", "Ada Administrator")
    data.fill(administrator)
    entry, run = AuditEntry.objects.first(), Run.objects.filter(status="succeeded").last()
    page = page_for(administrator)
    page.add_init_script(WATCH)
    site.pauses_at = 0.65
    moved = {}
    for address, width in combine([*ADDRESSES, f"/audit/{entry.seq}/", f"/runs/{run.pk}/"]):
        page.set_viewport_size({"width": width, "height": WIDTHS[width]})
        page.goto(address)
        shifts = page.evaluate(SETTLED)
        if sum(value for value, _ in shifts) > MOST:
            moved[width, address] = shifts
    assert moved == {}
