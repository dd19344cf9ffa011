"""The review queue over HTTP: verdicts that wait, reviews, and the examples that they make."""

import re
from html import unescape
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.engine.safety.guard import SafetyCategory
from promptops.ledger.models import AuditEntry
from promptops.runs.actions import records
from promptops.runs.actions.erasing import erase
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyExample, SafetyModelVersion

pytestmark = pytest.mark.django_db

BAD = "a man is beheaded and his bloody corpse lies on the floor"


def waiting(queue: str = "blocked", text: str = BAD, **fields) -> SafetyCheck:
    blocked = queue == "blocked"
    run = Run.objects.create(
        source="preview",
        operation="enhance",
        temperature=1,
        max_tokens=1,
        revision=0,
        latency_ms=1,
        status="succeeded",
        input=text,
        input_masked=blocked,
    )
    given = {"layer": "model", "scores": {"violence": 0.9, "hate": 0.1}, "category": "violence" if blocked else ""}
    return SafetyCheck.objects.create(
        run=run,
        side="input",
        decision="block" if blocked else "allow",
        mode="shadow",
        queue=queue,
        model=SafetyModelVersion.objects.get(number=1),
        **given | fields,
    )


def say(client, check: SafetyCheck, word: str, **given) -> str:
    """Answer as a person who has seen the text."""
    if word in ("right", "wrong"):
        client.post(reverse("safety_queue_decide", args=[check.pk]), {"say": "show"})
    return client.post(reverse("safety_queue_decide", args=[check.pk]), {"say": word} | given).content.decode()


@pytest.mark.parametrize(
    ("queue", "word", "label", "category"),
    [
        ("blocked", "right", "unsafe", "violence"),
        ("blocked", "wrong", "hard", ""),
        ("borderline", "right", "safe", ""),
        ("borderline", "wrong", "unsafe", "violence"),
        ("reported", "wrong", "unsafe", "violence"),
    ],
)
def test_a_review_makes_an_example(client_for, editor, queue, word, label, category):
    older, check = waiting(text="an older one", queue="borderline"), waiting(queue)
    html = say(client_for(editor, htmx=True), check, word)
    assert f"/runs/{older.run_id}/" in html  # the next one
    assert "an older one" not in html  # hidden again
    check.refresh_from_db()
    assert (check.review, check.reviewed_by) == (word, editor)
    example = SafetyExample.objects.get()
    assert (example.label, example.category, example.text, example.run) == (label, category, BAD, check.run)
    entry = AuditEntry.objects.get(action="safety.reviewed")
    assert (entry.actor, entry.after) == (editor, {"side": "input", "review": word})


def test_masked_text_is_shown_when_asked_for_and_that_is_audited(client_for, editor):
    check = waiting()
    client = client_for(editor, htmx=True)
    assert "beheaded" not in client.get(reverse("safety_queue")).content.decode()
    assert not AuditEntry.objects.filter(action="run.revealed").exists()
    assert BAD in say(client, check, "show")
    assert AuditEntry.objects.get(action="run.revealed").object_id == str(check.run_id)
    assert "beheaded" not in client.get(reverse("safety_queue")).content.decode()


def test_nobody_judges_a_masked_text_unseen(client_for, editor, releaser):
    check = waiting()
    client, address = client_for(editor, htmx=True), reverse("safety_queue_decide", args=[check.pk])
    page = client.get(reverse("safety_queue")).content.decode()
    assert 'value="right"' not in page
    assert page.count('name="say" value="show"') == 3  # R and W show the text first, as V does
    client_for(releaser).post(address, {"say": "show"})  # another person has seen the text
    assert "Show the text before you review" in client.post(address, {"say": "right"}).content.decode()
    assert not SafetyExample.objects.exists()
    assert 'value="right"' in say(client, check, "show")
    client.post(address, {"say": "right"})
    assert SafetyExample.objects.exists()


def test_a_category_can_be_chosen_and_must_exist(client_for, editor):
    check = waiting("borderline")
    client = client_for(editor, htmx=True)
    assert "Choose the kind of harm" in say(client, check, "wrong", category="<b>")
    assert "whether the verdict is right or wrong" in say(client, check, "maybe")
    assert not SafetyExample.objects.exists()
    say(client, check, "wrong", category="hate")
    assert SafetyExample.objects.get().category == "hate"


def test_a_review_is_undone_and_nobody_reviews_twice(client_for, editor, releaser):
    check = waiting()
    client = client_for(editor, htmx=True)
    assert 'value="back"' in say(client, check, "right")
    assert "already reviewed this verdict" in say(client_for(releaser, htmx=True), check, "wrong")
    assert "Show the text" in say(client, check, "back")
    check.refresh_from_db()
    assert check.review == ""
    assert not SafetyExample.objects.exists()
    assert "no review to undo" in say(client, check, "back")


def test_every_text_is_hidden_until_one_press_beside_its_category_and_score(client_for, editor):
    check = waiting("borderline", "a fight near the river")
    client = client_for(editor, htmx=True)
    page = client.get(reverse("safety_queue")).content.decode()
    assert "a fight" not in page
    assert re.search(r'violence <b class="num">0\.90</b>', page)
    assert "a fight near the river" in say(client, check, "show")
    assert not AuditEntry.objects.filter(action="run.revealed").exists()  # it is not masked


def test_the_queue_is_narrowed_skipped_and_ends(client_for, editor):
    first, second = waiting("borderline", "take one"), waiting("reported", "take two")
    client = client_for(editor, htmx=True)
    address = reverse("safety_queue")
    one, two = (f"/runs/{each.run_id}/" for each in (first, second))
    assert two in client.get(address).content.decode()
    assert one in client.get(address, {"queue": "borderline"}).content.decode()
    assert one in client.get(address, {"before": second.pk}).content.decode()
    assert "The end of the queue" in client.get(address, {"before": first.pk}).content.decode()
    assert two in client.get(address, {"queue": "no", "before": "x"}).content.decode()
    assert "Nothing to review" in client.get(address, {"queue": "blocked"}).content.decode()
    response = client.post(reverse("safety_queue_decide", args=[second.pk]), {"say": "right", "queue": "reported"})
    assert response["HX-Push-Url"] == f"{address}?queue=reported&before={second.pk}"
    news = client.get(address, {"queue": "reported"}, headers={"HX-Target": "queue-counts"})
    assert "HX-Push-Url" not in news  # the page follows other people, and its reader stays on it


def test_a_verdict_is_reported_from_the_page_of_its_run(client_for, editor, viewer):
    check = waiting("", "a knitting circle")
    run = reverse("run", args=[check.run_id])
    assert "Report this verdict" in client_for(editor).get(run).content.decode()
    assert "Blocked by mistake" not in client_for(editor).get(run).content.decode()
    assert "Report this verdict" not in client_for(viewer).get(run).content.decode()
    address = reverse("run_report", args=[check.run_id])
    assert client_for(viewer).post(address, {"side": "input"}).status_code == 403
    note = "Names a person\x00 " + "x" * 600
    assert client_for(editor, htmx=True).post(address, {"side": "input", "note": note})["HX-Redirect"] == run
    check.refresh_from_db()
    assert (check.queue, check.reported_by, len(check.report_note)) == ("reported", editor, 500)
    html = client_for(editor).get(reverse("safety_queue")).content.decode()
    assert "Names a person" in html
    assert "a knitting circle" in say(client_for(editor), check, "show")
    client = client_for(editor)
    client.post(address, {"side": "output"})  # was not judged
    assert "did not judge this text" in client.get(run).content.decode()
    assert SafetyCheck.objects.count() == 1


def test_erasing_a_run_deletes_its_example_and_empties_its_place_in_the_queue(client_for, editor, administrator):
    check = waiting()
    say(client_for(editor, htmx=True), check, "right")
    client_for(administrator).post(reverse("run_erase", args=[check.run_id]), {"confirm": "1"})
    assert not SafetyExample.objects.exists()
    other = waiting()
    Run.objects.filter(pk=other.run_id).update(erased_at=timezone.now())
    assert "Nothing to review" in client_for(editor).get(reverse("safety_queue")).content.decode()
    assert "is erased" in say(client_for(editor, htmx=True), other, "right")


def test_the_queue_is_for_editors(client_for, viewer):
    check = waiting()
    assert client_for(viewer).get(reverse("safety_queue")).status_code == 403
    assert client_for(viewer).post(reverse("safety_queue_decide", args=[check.pk]), {"say": "show"}).status_code == 403
    assert reverse("safety_queue") not in client_for(viewer).get(reverse("safety")).content.decode()


def test_the_queue_costs_the_same_queries_however_long(client_for, editor):
    client = client_for(editor, htmx=True)
    address = reverse("safety_queue")
    waiting()
    client.get(address)
    with CaptureQueriesContext(connection) as one:
        client.get(address)
    for _ in range(50):
        waiting()
    with CaptureQueriesContext(connection) as many:
        client.get(address)
    assert len(many) == len(one)


def test_counts_of_waiting_verdicts_end_at_a_bound(client_for, editor, monkeypatch):
    for queue in ("blocked", "borderline", "borderline", "borderline"):
        waiting(queue)
    monkeypatch.setattr("promptops.safety.queries.review_queue.WAITING_COUNTED", 2)
    html = client_for(editor).get(reverse("safety_queue")).content.decode()
    html = html.partition('id="queue-counts"')[2].partition("</nav>")[0]
    counts = re.findall(r'id="queue-(\w+)".*?<span class="num">([^<]*)</span>', html, re.DOTALL)
    assert counts[:4] == [("all", "3+"), ("blocked", "1"), ("borderline", "2+"), ("reported", "0")]


def test_an_erased_run_leaves_the_queue_and_its_page_still_says_that_it_was_reported(client_for, editor, actor):
    check, reviewed = waiting("reported", reported_at=timezone.now()), waiting("blocked", review="right")
    for each in (check, reviewed):
        erase(each.run, by=actor)
        each.refresh_from_db()
    assert (check.queue, reviewed.queue) == ("", "blocked")
    client = client_for(editor)
    assert "Nothing to review" in client.get(reverse("safety_queue")).content.decode()
    assert "Reported by" in client.get(reverse("run", args=[check.run_id])).content.decode()


# ---------------------------------------------------------------------------------------------- orders of the queue


def walked(client, **given) -> list[int]:
    """Return the runs that a person sees who skips each verdict."""
    address, seen = f"{reverse('safety_queue')}?{urlencode(given)}", []
    while match := re.search(r'of <a class="link" href="/runs/(\d+)/"', html := client.get(address).content.decode()):
        seen.append(int(match[1]))
        assert len(seen) < 20
        skip = re.search(r'id="review-skip"\s+href="([^"]+)"', html)
        assert skip is not None
        address = unescape(skip[1])
    return seen


def test_the_closest_to_a_threshold_come_first_and_reports_before_all(client_for, editor):
    near, far = waiting("borderline", distance=0.1), waiting("borderline", distance=0.9)
    unscored, equal = waiting("blocked", distance=None), waiting("blocked", distance=0.1)
    report, newest = waiting("reported", distance=2), waiting("blocked", distance=0.5)
    client = client_for(editor)
    runs = [each.run_id for each in (report, equal, near, newest, far, unscored)]
    assert walked(client, order="uncertain") == runs
    assert walked(client, order="uncertain", queue="blocked") == [equal.run_id, newest.run_id, unscored.run_id]
    assert walked(client) == [each.run_id for each in (report, newest, equal, unscored, far, near)]
    assert walked(client, order="nonsense") == walked(client)


def test_the_order_stays_while_a_person_reviews(client_for, editor):
    near, far = waiting("borderline", distance=0.1), waiting("borderline", distance=0.9)
    waiting("borderline", distance=2)
    client, address = client_for(editor, htmx=True), reverse("safety_queue_decide", args=[near.pk])
    response = client.post(address, {"say": "right", "order": "uncertain"})
    assert response["HX-Push-Url"] == f"{reverse('safety_queue')}?order=uncertain&before={near.pk}"
    assert f"/runs/{far.run_id}/" in response.content.decode().partition('id="queue-bar"')[0]
    assert f"/runs/{near.run_id}/" in say(client, near, "back", order="uncertain").partition('id="queue-bar"')[0]
    again = client.get(reverse("safety_queue"), {"order": "uncertain", "from": near.pk}).content.decode()
    assert f"/runs/{near.run_id}/" in again


def test_the_stages_that_disagree_most_come_first_and_reports_before_all(client_for, editor):
    little, most = waiting("borderline", disagreement=0.2), waiting("blocked", disagreement=1.4)
    agree, one_stage = waiting("blocked", disagreement=0.0), waiting("blocked")
    report, equal = waiting("reported", disagreement=0.0), waiting("borderline", disagreement=1.4)
    client = client_for(editor)
    runs = [each.run_id for each in (report, equal, most, little, agree, one_stage)]
    assert walked(client, order="disagreeing") == runs
    assert walked(client, order="disagreeing", queue="blocked") == [each.run_id for each in (most, agree, one_stage)]
    page = client.get(reverse("safety_queue"), {"order": "disagreeing", "queue": "blocked"}).content.decode()
    assert "stages disagree" in page
    skipped = client.get(reverse("safety_queue"), {"order": "disagreeing", "before": little.pk}).content.decode()
    assert f"/runs/{agree.run_id}/" in skipped
    assert "stages disagree" not in skipped.partition('id="queue-bar"')[0].partition('id="queue-next"')[2]


def test_the_order_by_disagreement_is_offered_as_soon_as_both_stages_judged_a_text(client_for, editor):
    client, address = client_for(editor, htmx=True), reverse("safety_queue")
    check = waiting("blocked")
    assert "Disagreeing stages first" not in client.get(address).content.decode()
    assert "Disagreeing stages first" in client.get(address, {"order": "disagreeing"}).content.decode()  # chosen
    SafetyCheck.objects.filter(pk=check.pk).update(disagreement=0.0)
    news = client.get(address, headers={"HX-Target": "queue-counts"}).content.decode()
    assert 'hx-select-oob="#queue-orders"' in news
    assert f'href="{address}?order=disagreeing"' in news


@pytest.mark.parametrize(
    ("first", "second", "disagreement"),
    [
        (0.4, 1.5, 1.1),
        (1.05, 0.05, 1.0),
        (1.0, 1.8, 0.0),
        (0.1, 0.9999, 0.0),
        (0.9999, 1.0, 0.0001),
        (None, 1.5, None),
        (1.0, None, None),
    ],
)
def test_a_verdict_is_recorded_with_the_disagreement_of_the_stages(first, second, disagreement):
    assert records._disagreement(first, second) == (disagreement and pytest.approx(disagreement))


@pytest.mark.parametrize("order", ["uncertain", "disagreeing"])
def test_an_order_costs_the_same_queries_however_long(client_for, editor, order):
    client = client_for(editor, htmx=True)

    def queries(**given) -> int:
        with CaptureQueriesContext(connection) as made:
            client.get(reverse("safety_queue"), {"order": order} | given)
        return len(made)

    first = waiting(distance=0.5, disagreement=0.5)
    waiting(distance=0.6, disagreement=0.4)
    queries()
    one, later = queries(), queries(before=first.pk)
    for number in range(30):
        waiting(distance=number / 10, disagreement=number / 10)
        waiting("borderline", distance=number / 10, disagreement=number / 10)
    assert (queries(), queries(before=first.pk)) == (one, later)


@pytest.mark.parametrize(
    ("scores", "thresholds", "distance"),
    [
        ({"violence": 0.5, "hate": 0.1}, {"violence": 0.8, "hate": 0.8}, 1.386),  # ln 4, to the nearest
        ({"violence": 0.8, "hate": 0.79}, {"violence": 0.5, "hate": 0.8}, 1.386),  # ln 4, to the one that blocks
        ({"violence": 0.5}, {"violence": 0.5}, 0.0),
        ({"violence": 0.5}, {}, None),
        ({}, {"violence": 0.5}, None),
    ],
)
def test_a_verdict_is_recorded_with_its_distance(scores, thresholds, distance):
    named = [{SafetyCategory(name): value for name, value in each.items()} for each in (scores, thresholds)]
    assert records._distance(*named) == (distance if distance is None else pytest.approx(distance, abs=0.001))


# ---------------------------------------------------------------------------------------------- appeals


@pytest.mark.parametrize(("answer", "outcome"), [("right", "Verdict upheld"), ("wrong", "Verdict overturned")])
def test_an_appeal_goes_to_the_top_and_its_page_says_what_became_of_it(
    client_for, editor, releaser, viewer, answer, outcome
):
    check = waiting("blocked", blocked=True)
    Run.objects.filter(pk=check.run_id).update(status="blocked")
    newer = waiting("blocked")
    run = reverse("run", args=[check.run_id])
    assert client_for(editor).get(run).content.decode().count("Blocked by mistake?") == 2  # at the text and the verdict
    assert "Blocked by mistake?" not in client_for(viewer).get(run).content.decode()
    client_for(editor, htmx=True).post(reverse("run_report", args=[check.run_id]), {"note": "It is a film title"})
    assert AuditEntry.objects.get(action="safety.reported").actor == editor
    page = client_for(viewer).get(run).content.decode()
    for words in (f"<bdi>{editor.name}</bdi>", "It is a film title", "at the top of the review queue"):
        assert words in page
    assert "Blocked by mistake?" not in client_for(editor).get(run).content.decode()

    queue = client_for(releaser).get(reverse("safety_queue")).content.decode()
    assert f"/runs/{newer.run_id}/" not in queue.partition('id="queue-bar"')[0]
    for words in (f"/runs/{check.run_id}/", "Blocked by mistake, says", editor.name, "It is a film title"):
        assert words in queue
    say(client_for(releaser, htmx=True), check, answer)
    page = " ".join(client_for(editor).get(run).content.decode().split())
    assert f"{outcome} by <bdi>{releaser.name}</bdi>" in page
    assert ("This run stays as it ended" in page) is (answer == "wrong")


def test_a_text_that_was_blocked_unjudged_can_be_appealed(client_for, editor, releaser):
    check = waiting("", cause="language", blocked=True, scores={}, layer="")
    SafetyCheck.objects.filter(pk=check.pk).update(decision="unavailable")
    Run.objects.filter(pk=check.run_id).update(status="blocked")
    client_for(editor, htmx=True).post(reverse("run_report", args=[check.run_id]), {})
    assert "Blocked by mistake, says" in client_for(releaser).get(reverse("safety_queue")).content.decode()
    say(client_for(releaser, htmx=True), check, "right")
    page = " ".join(client_for(editor).get(reverse("run", args=[check.run_id])).content.decode().split())
    assert "Marked as harmless by" in page
