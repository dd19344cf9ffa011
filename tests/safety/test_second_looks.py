"""A second person's review: blind, counted, disputed and settled."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused
from promptops.ledger.models import AuditEntry
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.actions import reviews, second_looks
from promptops.safety.models import SafetyExample, SafetyModelVersion, SafetySecondLook
from promptops.safety.queries.quality import quality
from tests.safety.test_queue import BAD, say, waiting

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(make_user):
    return make_user("editor", "second")


@pytest.fixture
def third(make_user):
    return make_user("editor", "third")


def queue(client, name: str, **given) -> str:
    return client.get(reverse("safety_queue"), {"queue": name} | given).content.decode()


def page_of(client, check: SafetyCheck) -> str:
    html = client.get(reverse("run", args=[check.run_id])).content.decode()
    return html.partition('id="run-safety"')[2].partition("</section>")[0]


def disputed(first, second, **fields) -> SafetyCheck:
    check = waiting("borderline", **fields)
    reviews.review(check, "right", by=Actor.person(first))
    second_looks.look_again(check, "wrong", by=Actor.person(second), category="hate")
    return check


def test_a_second_person_does_not_see_the_first_review(client_for, editor, second):
    check = waiting("borderline", "two foxes fight")
    say(client_for(editor, htmx=True), check, "wrong", category="hate")
    assert f"/runs/{check.run_id}/" not in queue(client_for(editor), "second")  # nobody looks at their own review
    client = client_for(second, htmx=True)
    offered = queue(client, "second")
    assert f"/runs/{check.run_id}/" in offered
    shown = say(client, check, "show", queue="second")
    assert "two foxes fight" in shown
    for html in (offered, shown):
        assert editor.name not in html
        assert "overturned" not in html
    folded = page_of(client, check)
    assert "<summary>Reviewed" in folded
    assert folded.index("<summary>Reviewed") < folded.index("Verdict overturned")
    assert "<summary>Reviewed" not in page_of(client_for(editor), check)


def test_two_people_agree_and_the_example_stays(client_for, editor, second, third):
    check = waiting()
    say(client_for(editor, htmx=True), check, "right")
    example = SafetyExample.objects.get()
    html = say(client_for(second, htmx=True), check, "right", queue="second")
    assert "and so did the first person" in html
    look = SafetySecondLook.objects.get()
    assert (look.verdict, look.first_by, look.second_by, look.agree) == (check, editor, second, True)
    assert (look.first_category, look.second_category) == ("violence", "violence")
    assert SafetyExample.objects.get() == example
    entry = AuditEntry.objects.get(action="safety.second_look")
    assert (entry.actor, entry.after) == (second, {"side": "input", "review": "right"})
    assert f"/runs/{check.run_id}/" not in queue(client_for(third), "second")


def test_a_text_in_dispute_is_no_example_and_no_measure(client_for, editor, second):
    model = SafetyModelVersion.objects.get(number=1)
    check = waiting("borderline")
    say(client_for(editor, htmx=True), check, "right")
    before = quality(model, {"violence": 0.5}, {"violence": 0.5})
    assert before is not None
    assert before.reviewed == 1
    html = say(client_for(second, htmx=True), check, "wrong", queue="second", category="hate")
    assert "You and the first person disagree" in html
    check.refresh_from_db()
    assert check.review == "disputed"
    assert not SafetyExample.objects.exists()
    after = quality(model, {"violence": 0.5}, {"violence": 0.5})
    assert after is not None
    assert after.reviewed == 0
    assert "Two people reviewed this verdict and disagree" in page_of(client_for(editor), check)
    assert "Nothing to review" in client_for(editor).get(reverse("safety_queue")).content.decode()


@pytest.mark.parametrize(("word", "label", "category"), [("wrong", "unsafe", "sexual"), ("right", "safe", "")])
def test_a_third_person_settles(client_for, editor, second, third, word, label, category):
    check = disputed(editor, second)
    for one_of_two in (editor, second):
        html = queue(client_for(one_of_two), "disputed")
        assert 'id="disputed-title"' in html  # listed, but for others to settle
        assert 'id="decide"' not in html
        assert "A third person or a releaser must settle" in say(
            client_for(one_of_two, htmx=True), check, word, queue="disputed"
        )
    assert 'id="decide"' in queue(client_for(third), "disputed", **{"from": check.pk})
    say(client_for(third, htmx=True), check, word, queue="disputed", category="sexual")
    check.refresh_from_db()
    assert (check.review, check.reviewed_by) == (word, third)
    example = SafetyExample.objects.get()
    assert (example.label, example.category, example.text, example.user) == (label, category, BAD, third)
    look = SafetySecondLook.objects.get()
    assert (look.settled_harmful, look.settled_by) == (bool(category), third)
    assert AuditEntry.objects.get(action="safety.settled").after == {"side": "input", "review": word}
    assert 'id="disputed-title"' not in queue(client_for(editor), "disputed")


def test_a_releaser_settles_also_when_one_of_the_two(client_for, releaser, second):
    check = disputed(releaser, second)
    assert 'id="decide"' in queue(client_for(releaser), "disputed")
    say(client_for(releaser, htmx=True), check, "right", queue="disputed")
    check.refresh_from_db()
    assert check.review == "right"


def test_later_reviews_are_undone_by_their_person_from_the_newest(editor, second, third):
    check = disputed(editor, second)
    one, two, three = map(Actor.person, (editor, second, third))
    second_looks.settle(check, "wrong", by=three, category="hate")
    for other in (one, two):
        with pytest.raises(Refused, match="Only that person can undo it"):
            second_looks.undo(check, by=other)
    with pytest.raises(Refused, match="Another person has reviewed this verdict, too"):
        reviews.undo(check, by=one)
    second_looks.undo(check, by=three)
    check.refresh_from_db()
    assert (check.review, SafetyExample.objects.count()) == ("disputed", 0)
    second_looks.undo(check, by=two)
    check.refresh_from_db()
    assert (check.review, check.reviewed_by, SafetySecondLook.objects.count()) == ("right", editor, 0)
    example = SafetyExample.objects.get()
    assert (example.label, example.user) == ("safe", editor)
    with pytest.raises(Refused, match="no second look to undo"):
        second_looks.undo(check, by=two)
    reviews.undo(check, by=one)
    assert not SafetyExample.objects.exists()


def test_a_second_look_needs_another_person_one_review_and_a_seen_text(client_for, editor, second, third):
    check = waiting()
    assert "was undone" in say(client_for(third, htmx=True), check, "right", queue="second")
    say(client_for(editor, htmx=True), check, "right")
    assert "Another person must give" in say(client_for(editor, htmx=True), check, "right", queue="second")
    address = reverse("safety_queue_decide", args=[check.pk])
    unseen = client_for(second, htmx=True).post(address, {"say": "right", "queue": "second"}).content.decode()
    assert "Show the text before" in unseen
    say(client_for(second, htmx=True), check, "right", queue="second")
    assert "already reviewed" in say(client_for(third, htmx=True), check, "right", queue="second")
    with pytest.raises(Refused, match="Two people have reviewed"):
        reviews.report(check.run, "input", by=Actor.person(third))


def test_nobody_looks_again_at_a_verdict_that_they_reported(client_for, editor, second, third):
    check = waiting("")
    reviews.report(check.run, "input", by=Actor.person(second))
    say(client_for(editor, htmx=True), check, "right")
    assert f"/runs/{check.run_id}/" not in queue(client_for(second), "second")
    assert f"/runs/{check.run_id}/" in queue(client_for(third), "second")


def test_the_page_says_how_often_two_people_agree(client_for, editor, second):
    client = client_for(editor)
    assert "No text was reviewed by two people yet" in queue(client, "")
    checks = [waiting("borderline") for _ in range(30)]
    kinds = [(True, True)] * 14 + [(False, False)] * 13 + [(True, False)] * 2
    for check, (first, again) in zip(checks, kinds, strict=False):
        SafetySecondLook.objects.create(verdict=check, first_harmful=first, second_harmful=again)
    html = " ".join(queue(client, "").split())
    assert "Too few for Cohen's kappa, which needs 30" in html
    SafetySecondLook.objects.create(verdict=checks[-1], first_harmful=False, second_harmful=False)
    html = " ".join(queue(client, "").split())
    assert '<b class="num">28</b>' in html
    assert "Cohen's kappa is" in html


def test_erased_texts_leave_both_queues(client_for, editor, second, third, actor):
    one, two = waiting("borderline"), disputed(editor, second)
    reviews.review(one, "right", by=Actor.person(editor))
    Run.objects.update(erased_at=timezone.now())
    assert "Nothing to review" in queue(client_for(third), "second")
    assert "Nothing to review" in queue(client_for(third), "disputed")
    assert "is erased" in say(client_for(third, htmx=True), two, "right", queue="disputed")


def test_a_list_of_disagreements_costs_the_same_queries_however_long(client_for, editor, second, third):
    disputed(editor, second)
    client = client_for(third)
    queue(client, "disputed")
    with CaptureQueriesContext(connection) as one:
        queue(client, "disputed")
    for _ in range(30):
        disputed(editor, second)
    with CaptureQueriesContext(connection) as many:
        queue(client, "disputed")
    assert len(many) == len(one)
