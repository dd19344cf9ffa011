"""How soon the main pages answer a key: milliseconds from the key's event to the painted frame that shows the answer.

The server is `manage.py serve` in a process of its own, on an SQLite database with 5,000 runs. The browser is Chromium
at 1,440 px. What a key changes is an expression of the page; its answer is the first frame in which the value is
another one. A key that goes to another page is answered by the mark of the link that it pressed. The first paint of
that page has a row of its own.
"""

import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from benchmarks import chromium
from benchmarks.signins import _free_port, _started

RUNS = 5_000
ROUNDS = 30
WORDS = 6_000
LIMIT_MS = 100
ANSWER_MS = 5_000
"""A key without an answer for so long ends the benchmark."""

WATCH = """
addEventListener("keydown", (event) => {
  sessionStorage.setItem("key-at", performance.timeOrigin + event.timeStamp);
  const watched = window.watched;
  delete window.watched;
  if (!watched) return;
  const look = () => {
    if (watched.state() === watched.before) return void requestAnimationFrame(look);
    const painted = new MessageChannel(); // its message comes after the frame is painted
    painted.port1.onmessage = () => watched.answered(performance.now() - event.timeStamp);
    painted.port2.postMessage(null);
  };
  requestAnimationFrame(look);
}, { capture: true });
"""
ARM = """() => {
  const state = () => %s;
  window.answer = new Promise((answered) => { window.watched = { state, before: state(), answered }; });
}"""
IS_BACK = "(answered) => (%s) !== answered"
RESTED = "() => new Promise((rested) => requestAnimationFrame(() => requestAnimationFrame(rested)))"
"""After these frames the browser has taken the focus out of a closed dialog."""

ANSWER = """(limit) => Promise.race([
  window.answer, new Promise((_, refuse) => setTimeout(() => refuse(new Error("the key had no answer")), limit)),
])"""
ARM_MARK = """() => {
  const state = () => Boolean(document.querySelector("[data-opening]"));
  window.watched = { state, before: false, answered: (taken) => sessionStorage.setItem("answered-in", taken) };
}"""
MARKED = "() => Number(sessionStorage.getItem('answered-in'))"
PAINTED = """() => new Promise((painted) => {
  const observer = new PerformanceObserver((list) => {
    const entry = list.getEntriesByName("first-contentful-paint")[0];
    if (entry) painted(performance.timeOrigin + entry.startTime - Number(sessionStorage.getItem("key-at")));
  });
  observer.observe({ type: "paint", buffered: true });
})"""


@dataclass(frozen=True)
class Key:
    """A key, what it does, the expression that it changes, and the key that takes its effect back (none: "").

    `first` is pressed once before all others: from the first row, j and k go there and back.
    """

    what: str
    press: str
    state: str
    back: str = ""
    first: str = ""


HELP = Key("? opens the help", "?", "Boolean(document.querySelector('#shortcuts[open] dl'))", "Escape")
BAR = Key(
    "Ctrl K opens the command bar",
    "Control+k",
    "Boolean(document.querySelector('#commands[open] [role=option]:not([hidden])'))",
    "Escape",
)
SEARCH = Key(
    "/ goes to the search",
    "/",
    "document.activeElement.matches('[role=search] input, #commands[open] input')",
    "Escape",
)
ROW = Key("j goes to the next row", "j", "[...document.links].indexOf(document.activeElement)", "k", "j")
LETTER = Key("a letter", "x", "document.activeElement.value.length")
LINE = Key("a new line", "Enter", "document.activeElement.value.length")
EDIT = Key("e goes to the text", "e", "document.activeElement.name", "Escape")
EVERYWHERE = (HELP, BAR, SEARCH)

PAGES = {
    "/": EVERYWHERE,
    "/prompts/": (*EVERYWHERE, ROW),
    "/prompts/enhance/": (*EVERYWHERE, EDIT),
    "/prompts/long/": (*EVERYWHERE, EDIT),
    "/prompts/enhance/history/": (*EVERYWHERE, ROW),
    "/timeline/": (*EVERYWHERE, ROW),
    "/providers/": EVERYWHERE,
    "/compare/": (*EVERYWHERE, ROW),
    "/runs/": (*EVERYWHERE, ROW),
    "/safety/": EVERYWHERE,
    "/safety/queue/": EVERYWHERE,
    "/fleet/": EVERYWHERE,
    "/audit/": EVERYWHERE,
    "/settings/": EVERYWHERE,
}
"""The keys that are pressed on each page. `/prompts/long/` has a prompt of 6,000 words."""

TYPED = {
    "/": ("Control+k", "in the command bar", (LETTER,)),
    "/runs/": ("/", "in the search", (LETTER,)),
    "/prompts/enhance/": ("e", "in the text", (LETTER, LINE)),
    "/prompts/long/": ("e", f"in {WORDS:,} words", (LETTER, LINE)),
}
"""Pages where somebody types: the key that goes to the field, what the field is, and the typed keys."""

GOES = {
    "g p": "/prompts/",
    "g v": "/providers/",
    "g r": "/runs/",
    "g f": "/fleet/",
    "g a": "/audit/",
    "g ,": "/settings/",
}
"""Keys that go from the overview to another page."""


def bench_keys(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Return the milliseconds until each key is answered on each page, `rounds` times after a first one."""
    if chromium.path() is None:
        raise SystemExit(chromium.MISSING)
    with tempfile.TemporaryDirectory(prefix="promptops-keys-") as folder:
        port = _free_port()
        empty = dict.fromkeys(("SECRET_KEY", "DATABASE_URL", "ALLOWED_HOSTS", "BEHIND_PROXY", "DEBUG", "REDIS_URL"), "")
        env = os.environ | empty | {"VAR_DIR": folder, "PORT": str(port)}
        env["DJANGO_SETTINGS_MODULE"] = "promptops.settings"
        prepared = _started(["-m", "benchmarks.keys"], env)
        session, _ = prepared.communicate()
        assert prepared.returncode == 0
        server = _started(["manage.py", "serve"], env)
        try:
            assert server.stdout
            while "PromptOps is up" not in (line := server.stdout.readline()):
                assert line, "the server ended"
            rows = _measured(f"http://127.0.0.1:{port}", session.strip(), rounds)
        finally:
            server.terminate()
            server.wait()
    over = [row for row in rows if row["p95_ms"] > LIMIT_MS]
    print(f"{len(rows)} keys, {len(over)} over {LIMIT_MS} ms (p95)", file=sys.stderr)
    return rows


def _measured(address: str, session: str, rounds: int) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=chromium.FLAGS)
        context = browser.new_context(base_url=address, viewport={"width": 1440, "height": 900})
        context.set_default_timeout(ANSWER_MS)
        context.add_cookies([{"name": "sessionid", "value": session, "url": address}])
        context.add_init_script(WATCH)
        page = context.new_page()
        for path, keys in PAGES.items():
            page.goto(path)
            rows += [_row(path, key.what, _pressed(page, key, rounds)) for key in keys]
        for path, (first, where, keys) in TYPED.items():
            page.goto(path)
            page.keyboard.press(first)
            rows += [_row(path, f"{key.what} {where}", _pressed(page, key, rounds)) for key in keys]
        for key, path in GOES.items():
            marked, painted = _gone(page, key, path, rounds)
            rows += [_row("/", f"{key} marks its link", marked), _row("/", f"{key} shows {path}", painted)]
        browser.close()
    return rows


def _pressed(page: Any, key: Key, rounds: int) -> list[float]:
    """Press the key, wait for its answer, and take its effect back, again and again; return the milliseconds."""
    from playwright.sync_api import Error

    if key.first:
        page.keyboard.press(key.first)
    taken = []
    for _ in range(rounds + 1):
        page.evaluate(ARM % key.state)
        page.keyboard.press(key.press)
        try:
            taken.append(page.evaluate(ANSWER, ANSWER_MS))
        except Error as error:
            raise AssertionError(f"{page.url}: no answer ({key.what})") from error
        if key.back:
            answered = page.evaluate(f"() => {key.state}")
            page.keyboard.press(key.back)
            page.wait_for_function(IS_BACK % key.state, arg=answered)
            page.evaluate(RESTED)
    return taken


def _gone(page: Any, keys: str, path: str, rounds: int) -> tuple[list[float], list[float]]:
    """Go from the overview to another page, again and again.

    Return the milliseconds until the link is marked, and those until the page is painted.
    """
    marked, painted = [], []
    first, second = keys.split()
    for _ in range(rounds + 1):
        page.goto("/")
        page.keyboard.press(first)
        page.evaluate(ARM_MARK)
        page.keyboard.press(second)
        page.wait_for_url(f"**{path}")
        painted.append(page.evaluate(PAINTED))
        marked.append(page.evaluate(MARKED))
    return marked, painted


def _row(page: str, what: str, taken: list[float]) -> dict[str, Any]:
    """Return the row of a key on a page. The first answer, which fills caches, does not count."""
    counted = taken[1:]
    return {
        "page": page,
        "key": what,
        "count": len(counted),
        "p50_ms": round(statistics.median(counted), 1),
        "p95_ms": round(statistics.quantiles(counted, n=20, method="inclusive")[18], 1),
        "worst_ms": round(max(counted), 1),
    }


def prepare() -> str:
    """Fill the database with typical data; return the key of the reader's session."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from benchmarks.big import filling
    from benchmarks.big.others import READER
    from promptops.ledger.audit import SYSTEM
    from promptops.people.models import User
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template

    call_command("migrate", verbosity=0)
    filling.fill(RUNS)
    words = "\n".join(
        f"Rule {line}: keep the subject first, then the light and the lens." for line in range(WORDS // 12)
    )
    publish(create_template("long", "enhance", by=SYSTEM), Content(words), by=SYSTEM, expected=None)
    client = Client()
    client.force_login(User.objects.get(username=READER), backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value


if __name__ == "__main__":
    print(prepare())
