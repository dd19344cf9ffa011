"""Check the look of a page in both themes and widths: axe finds nothing wrong, and nothing runs off the side.

`make test` looks at a page twice, the second time only for what depends on the look. A proof looks six times for all.
"""

from itertools import product

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Page

from tests.browser.conftest import PICTURES, SCHEMES, WIDTHS, snap

Looks = tuple[tuple[int, str], ...]
LOOKS: Looks = ((1440, "light"), (390, "dark"))
OTHER_LOOKS: Looks = ((1440, "dark"), (390, "light"))
HEIGHTS = WIDTHS | {2560: 1300}
ALL_LOOKS: Looks = tuple(product(HEIGHTS, SCHEMES))
OF_A_LOOK = ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]
"""The rules of axe that depend on the width or the theme. The others read the document, which is the same in all."""

in_looks = pytest.mark.parametrize(
    "looks", [pytest.param(LOOKS, id="looks"), pytest.param(ALL_LOOKS, id="proof: all looks", marks=pytest.mark.proof)]
)
"""Give a test the argument `looks`."""

# A page that was resized has settled two frames later. The page behind an open dialog was looked at without it. Of long
# lists the first twelve and the last four rows are looked at: each row costs milliseconds, the others are like them.
# Contrast costs most by far and depends on what `alike` compares, so it is looked at once for texts that are alike.
RUN_AXE = """async ([part, rules]) => {
  await new Promise((settled) => requestAnimationFrame(() => requestAnimationFrame(settled)));
  const grounds = new Map([[null, ""]]);
  const ground = (element) => {
    if (!grounds.has(element)) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(element);
      const clear = backgroundColor === "rgba(0, 0, 0, 0)" && backgroundImage === "none" && opacity === "1";
      const own = clear ? "" : [backgroundColor, backgroundImage, opacity].join();
      grounds.set(element, ground(element.parentElement) + own);
    }
    return grounds.get(element);
  };
  const alike = (element) => {
    const { color, fontSize, fontWeight, textShadow } = getComputedStyle(element);
    return [color, fontSize, fontWeight, textShadow, ground(element)].join();
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const seen = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const look = hasText(element) && element.checkVisibility({ visibilityProperty: true }) && alike(element);
    element.toggleAttribute("data-alike", Boolean(look) && seen.has(look));
    seen.add(look);
  }
  axe.configure({ rules: [{ id: "color-contrast", selector: "*:not([data-alike])" }] });
  const shown = part && document.querySelector(part);
  const result = await axe.run(
    {
      include: document.querySelector("dialog[open]") ?? shown?.closest("details") ?? shown ?? document,
      exclude: ["tr", "li", "article"].map((row) => `${row}:nth-child(n+13):nth-last-child(n+5)`),
    },
    { resultTypes: ["violations"], preload: false, ...(rules && { runOnly: rules }) },
  );
  return result.violations;
}"""

# A fixed bar, such as that of the workbench on a phone, makes no page wider. The top bar is one row on every screen.
TOO_WIDE = """() => {
  const root = document.scrollingElement;
  const cut = [...document.querySelectorAll(".head > .actions .btn, .top .btn")].filter(
    (button) => button.checkVisibility() && button.getBoundingClientRect().right > root.clientWidth + 1,
  );
  if (cut.length) return `cut off: ${cut.slice(0, 3).map((button) => button.outerHTML.slice(0, 120))}`;
  const top = document.querySelector(".top")?.clientHeight;
  if (top > 60) return `the top bar has two rows: ${top} px`;
  if (root.scrollWidth <= root.clientWidth) return null;
  const sticksOut = (element) => element.getBoundingClientRect().right > root.clientWidth + 1;
  const culprits = [...document.querySelectorAll("main *, header *")].filter(sticksOut);
  return `${root.scrollWidth} px: ${culprits.slice(0, 3).map((culprit) => culprit.outerHTML.slice(0, 120))}`;
}"""

# The bar at the top takes one row, on a phone too.
TOP_WRAPS = """() => {
  const top = document.querySelector("header.top");
  return top && top.offsetHeight > 60 ? `${top.offsetHeight} px` : null;
}"""
# In a page that is read from the left, a name of the other direction begins at the left, too.
NAMES_AT_THE_RIGHT = """() => [...document.querySelectorAll(":is(h1, h2, h3)[dir=auto]")].filter((heading) => {
  const { direction, textAlign } = getComputedStyle(heading);
  return direction === "rtl" && textAlign === "start";
}).map((heading) => heading.outerHTML.slice(0, 120))"""

# Lines of a text have a direction each: an English line after an Arabic one is read from the left.
LINES_OF_ONE_DIRECTION = """() => [...document.querySelectorAll("[dir=auto]")].filter((element) => {
  const { display, unicodeBidi, whiteSpace } = getComputedStyle(element);
  const hasLines = [...element.childNodes].some((node) => node.nodeType === 3 && /\\S\\s*\\n\\s*\\S/.test(node.data));
  return hasLines && display !== "inline" && whiteSpace.startsWith("pre") && unicodeBidi !== "plaintext";
}).map((element) => element.outerHTML.slice(0, 120))"""


def faults(page: Page, name: str, looks: Looks = LOOKS, part: str | None = None) -> list[str]:
    """Return what axe and a ruler find on the page in each look; with pictures, in all looks.

    Axe looks at the open dialog, at the `part` with this selector, or else at the whole page.
    """
    if PICTURES:
        looks = ALL_LOOKS
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_FILE_PATH.read_text())
        page.add_init_script(path=AXE_FILE_PATH)  # the addresses that follow have it, without its 600 KB being sent
    found = []
    for place, (width, scheme) in enumerate(looks):
        rules = OF_A_LOOK if place and looks != ALL_LOOKS else None
        page.set_viewport_size({"width": width, "height": HEIGHTS[width]})
        page.emulate_media(color_scheme=scheme)
        where = f"{name}-{width}-{scheme}"
        if PICTURES:
            snap(page, where, full_page=not page.locator("dialog[open]").count())
        for violation in page.evaluate(RUN_AXE, [part, rules]):
            nodes = [f"{node['target']} {node['html'][:160]}" for node in violation["nodes"][:3]]
            found.append(f"{where}: {violation['id']} ({violation['impact']}), {len(violation['nodes'])}: {nodes}")
        if too_wide := page.evaluate(TOO_WIDE):
            found.append(f"{where} is wider than the window: {too_wide}")
        if wraps := page.evaluate(TOP_WRAPS):
            found.append(f"{where}: the bar at the top wraps, {wraps}")
        if names := page.evaluate(NAMES_AT_THE_RIGHT):
            found.append(f"{where}: at the right instead of the left: {names}")
        if lines := page.evaluate(LINES_OF_ONE_DIRECTION):
            found.append(f"{where}: all lines have the direction of the first: {lines}")
    return found


def look(page: Page, prefix: str, addresses: dict[str, str], looks: Looks = LOOKS) -> list[str]:
    """Return the faults of several pages. Their frame is the same, and has all rules in both of two looks."""
    found = []
    for number, (name, address) in enumerate(addresses.items()):
        page.set_viewport_size({"width": 1440, "height": WIDTHS[1440]})
        page.goto(address)
        found += faults(page, f"{prefix}-{name}", looks if number % 2 == 0 or looks == ALL_LOOKS else looks[::-1])
    return found


def told(found: list[str]) -> str:
    return "\n" + "\n".join(found)
