"""History, differences, search and timeline of 200 versions of a 6,000-word prompt, through the whole middleware."""

import random
import statistics
import time
from typing import Any

VERSIONS, WORDS, EDITS = 200, 6_000, 12
"""Each version changes this many words of the one before, here and there, as an operator would."""

ROUNDS = 15
LIMIT_MS = 200.0
"""What every one of these pages has to stay below, at its median."""


def bench_history() -> list[dict[str, Any]]:
    """One row for each page: median and slowest answer. The prompt is one paragraph, then 200 lines."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django.test import Client

    from promptops.people.models import User

    person, _ = User.objects.get_or_create(username="historian", name="Historian", role="administrator")
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    rows = []
    for name, line_words in (("paragraph", WORDS), ("lines", WORDS // 200)):
        template = _filled(name, line_words, person)
        draft = " ".join(template.live_version.body.split(" ")[::-1])  # every word elsewhere
        _keep_draft(template, draft, person)
        base = f"/prompts/{name}/"
        pages = {
            "history": f"{base}history/",
            "diff of neighbors, inline": f"{base}diff/?a={VERSIONS - 1}&b={VERSIONS}&view=inline",
            "diff of neighbors, side by side": f"{base}diff/?a={VERSIONS - 1}&b={VERSIONS}&view=side",
            "diff of the first and the last": f"{base}diff/?a=1&b={VERSIONS}",
            "diff of texts with little in common": f"{base}diff/?a=live&b=draft",
            "editor": base,
            "timeline": f"/timeline/?template={name}",
            "what was live at a moment": "/timeline/?at=2199-01-01T00:00:00Z",
            "one revision": f"/revisions/{template.releases.first().pk}/",
            "search, found in every version": "/prompts/?q=camera",
            "search, found nowhere": "/prompts/?q=no+such+words",
        }
        rows += [{"prompt": name, **_measured(client, what, address)} for what, address in pages.items()]
    return rows


def _filled(name: str, line_words: int, person: Any) -> Any:
    """A template with all its versions."""
    from promptops.ledger.audit import Actor
    from promptops.prompts.actions.releases import Content, publish
    from promptops.prompts.actions.templates import create_template

    chance = random.Random(4)
    vocabulary = [f"word{n}" for n in range(1500)] + ["the", "a", "of", "and", "camera", "light"] * 60
    words = chance.choices(vocabulary, k=WORDS)
    actor = Actor.person(person)
    template = create_template(name, "enhance", by=actor)
    for number in range(1, VERSIONS + 1):
        for place in chance.sample(range(WORDS), EDITS):
            words[place] = chance.choice(vocabulary)
        body = "\n".join(" ".join(words[start : start + line_words]) for start in range(0, WORDS, line_words))
        content = Content(body, temperature=number % 3 / 10)
        publish(template, content, by=actor, expected=template.live_version_id, note=f"Edition {number}")
        template.refresh_from_db()
    return template


def _keep_draft(template: Any, body: str, person: Any) -> None:
    from promptops.prompts.actions.drafts import save_draft
    from promptops.prompts.actions.releases import Content

    save_draft(template, Content(body), user=person, base=template.live_version_id)


def _measured(client: Any, what: str, address: str) -> dict[str, Any]:
    taken = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        response = client.get(address)
        taken.append((time.perf_counter() - began) * 1000)
        assert response.status_code == 200, address
    median = statistics.median(taken[1:])  # the first one compiles the page's templates
    return {
        "what": what,
        "p50_ms": round(median, 1),
        "max_ms": round(max(taken[1:]), 1),
        "kib": round(len(response.content) / 1024),
        "under_200_ms": median < LIMIT_MS,
    }
