"""The ballots, their order and sides; casting and undoing votes."""

from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from threading import Barrier, Thread

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from promptops.compare import ballots
from promptops.compare.actions import votes
from promptops.compare.actions.comparisons import cancel
from promptops.compare.models import Comparison, Trial, Vote
from promptops.compare.queries import votes as queries
from promptops.ledger.audit import Actor
from promptops.ledger.errors import Refused, Stale
from promptops.ledger.models import AuditEntry
from promptops.people.models import User
from promptops.runs.actions.erasing import erase
from promptops.runs.models import Run
from tests.comparing import answer, change_runs, compare, words

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def comparison(actor) -> Comparison:
    """Two arms, two inputs, all answered."""
    made = compare(actor)
    answer(made)
    return made


def cast(comparison: Comparison, user: User, side: str = "left", ballot: queries.Ballot | None = None, **more) -> bool:
    shown = ballot or queries.next_ballot(user, comparison)
    fields = {"input": shown.input, "repeat": shown.repeat, "mark": shown.mark, "side": side} | more
    fields["ballot"] = fields.pop("mark")
    return votes.cast(comparison, by=Actor.person(user), **fields)


def letters(ballot: queries.Ballot) -> str:
    """Return the arms of a ballot whose answers are `words`, the left one first."""
    return ballot.left[7] + ballot.right[7]


def vote_through(comparison: Comparison, user: User) -> list[queries.Ballot]:
    """Vote on everything. Return the ballots in the order in which they were shown."""
    seen = []
    while ballot := queries.next_ballot(user, comparison):
        seen.append(ballot)
        assert cast(comparison, user, ballot=ballot)
    return seen


@pytest.mark.parametrize(
    ("side", "first_on_left", "choice"),
    [
        ("left", True, "first"),
        ("left", False, "second"),
        ("right", True, "second"),
        ("right", False, "first"),
        ("tie", True, "tie"),
        ("tie", False, "tie"),
        ("neither", True, "neither"),
        ("neither", False, "neither"),
    ],
)
def test_a_side_becomes_the_choice_of_an_arm(comparison, editor, monkeypatch, side, first_on_left, choice):
    monkeypatch.setattr(ballots, "first_on_left", lambda *_: first_on_left)
    ballot = queries.next_ballot(editor, comparison)
    assert letters(ballot) == ("AB" if first_on_left else "BA")
    assert cast(comparison, editor, side, ballot)
    vote = Vote.objects.get()
    assert (vote.choice, vote.first_on_left, vote.user, vote.user_name) == (choice, first_on_left, editor, editor.name)
    assert (vote.first.letter, vote.second.letter, vote.comparison) == ("A", "B", comparison)


@pytest.mark.parametrize("arms", [2, 3, 4])
@pytest.mark.parametrize("repeats", [1, 2])
def test_every_pair_comes_once_and_each_pass_through_the_inputs_shows_all_pairs_equally(actor, editor, arms, repeats):
    pairs = arms * (arms - 1) // 2
    inputs = 2 * pairs
    comparison = compare(actor, arms=arms, inputs=inputs, repeats=repeats)
    answer(comparison)
    seen = vote_through(comparison, editor)
    assert len({(ballot.input, ballot.repeat, *sorted(letters(ballot))) for ballot in seen}) == len(seen)
    assert len(seen) == inputs * repeats * pairs
    for start in range(0, len(seen), inputs):
        through = seen[start : start + inputs]
        assert [ballot.input for ballot in through] == list(comparison.inputs.values_list("pk", flat=True))
        assert set(Counter("".join(sorted(letters(ballot))) for ballot in through).values()) == {2}


@pytest.mark.parametrize(
    ("text", "standing"),
    [
        (words, (3, 0)),
        (lambda trial: "the same", (0, 3)),
        (lambda trial: "same" if trial.arm.position < 2 else "other", (2, 1)),
        (lambda trial: "Same" if trial.arm.position else "same", (2, 1)),
        (lambda trial: words(trial) if trial.arm.position else None, (1, 0)),
        (lambda trial: None, (0, 0)),
    ],
    ids=["different", "the same", "two the same", "another case", "one failed", "all failed"],
)
def test_only_different_answers_of_succeeded_trials_are_ballots(actor, editor, text, standing):
    comparison = compare(actor, arms=3, inputs=1)
    assert queries.standing(editor, comparison).ballots == 0
    answer(comparison, text)
    progress = queries.standing(editor, comparison)
    assert (progress.ballots, progress.same) == standing
    assert queries.left_to(editor, comparison) == progress.left == standing[0]
    assert len(vote_through(comparison, editor)) == standing[0]
    assert queries.left_to(editor, comparison) == 0


def test_answers_of_a_canceled_comparison_can_be_voted_on(actor, editor):
    comparison = compare(actor)
    cancel(comparison, by=actor)
    Trial.objects.filter(input__position=1).delete()
    answer(comparison)
    assert len(vote_through(comparison, editor)) == 1


@pytest.mark.parametrize(
    "change", [{"output": "", "erased_at": LONG_AGO}, {"output_masked": True}, {"input_masked": True}]
)
@pytest.mark.parametrize("letter", "AB")
def test_erased_and_masked_texts_are_no_ballots(comparison, editor, change, letter):
    shown = queries.next_ballot(editor, comparison)
    change_runs(Run.objects.filter(trial__input=shown.input, output__contains=f" {letter}"), **change)
    with pytest.raises(Stale, match="can no longer be voted on"):
        cast(comparison, editor, ballot=shown)
    assert queries.next_ballot(editor, comparison).input != shown.input
    assert queries.standing(editor, comparison).ballots == 1


def test_erasing_a_run_removes_its_ballots(comparison, editor, actor):
    shown = queries.next_ballot(editor, comparison)
    erase(Run.objects.filter(trial__input=shown.input).first(), by=actor)
    assert queries.next_ballot(editor, comparison).input != shown.input
    assert queries.left_to(editor, comparison) == 1


def test_a_vote_on_an_answer_that_was_erased_later_does_not_count(comparison, editor, actor):
    shown = queries.next_ballot(editor, comparison)
    cast(comparison, editor, ballot=shown)
    erase(Run.objects.filter(trial__input=shown.input).first(), by=actor)
    progress = queries.standing(editor, comparison)
    assert (progress.ballots, progress.voted, progress.can_undo) == (1, 0, True)


def test_the_migration_hashes_old_answers(comparison, editor):
    change_runs(Run.objects.filter(output="answer B1.0"), output_masked=True)
    before = list(Trial.objects.values_list("pk", "answer_hash"))
    Trial.objects.update(answer_hash=None)
    import_module("promptops.migrations.0021_answer_hash").hash_answers(apps, None)
    assert list(Trial.objects.values_list("pk", "answer_hash")) == before
    assert [answer_hash is None for _, answer_hash in before].count(True) == 1


def test_a_viewer_has_no_ballots_left(comparison, viewer, editor, releaser):
    assert [queries.left_to(user, comparison) for user in (viewer, editor, releaser)] == [0, 2, 2]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"side": "first"}, ValidationError),
        ({"side": ""}, ValidationError),
        ({"mark": ""}, Stale),
        ({"mark": "0" * 64}, Stale),
        ({"mark": "é\x00"}, Stale),
        ({"input": 0}, Stale),
        ({"input": 10**17}, Stale),
        ({"repeat": 1}, Stale),
        ({"repeat": 10**17}, Stale),
    ],
)
def test_forged_votes_are_refused(comparison, editor, change, error):
    with pytest.raises(error):
        cast(comparison, editor, **change)
    assert not Vote.objects.exists()


def test_a_ballot_of_another_comparison_or_person_or_of_equal_answers_is_refused(comparison, editor, releaser, actor):
    other = compare(actor)
    answer(other, lambda trial: "the same")
    shown = queries.next_ballot(editor, comparison)
    equal = Trial.objects.filter(comparison=other).first().input_id
    pair = tuple(other.arms.values_list("pk", flat=True))
    for where, user, more in (
        (other, editor, {}),
        (comparison, releaser, {}),
        (other, editor, {"input": equal, "mark": ballots.mark(editor.pk, equal, 0, pair)}),
    ):
        with pytest.raises(Stale):
            cast(where, user, ballot=shown, **more)
    assert not Vote.objects.exists()


def test_a_second_vote_on_a_ballot_changes_nothing(comparison, editor, releaser):
    shown = queries.next_ballot(editor, comparison)
    assert cast(comparison, editor, "left", shown)
    assert not cast(comparison, editor, "right", shown)
    assert Vote.objects.count() == 1
    assert cast(comparison, releaser)
    assert queries.standing(editor, comparison) == queries.Standing(2, 1, 0, others=1, can_undo=True)


def test_votes_are_undone_newest_first_and_only_by_their_voter(comparison, editor, releaser):
    shown = vote_through(comparison, editor)
    cast(comparison, releaser)
    for ballot in reversed(shown):
        undone = votes.undo(comparison, by=Actor.person(editor))
        assert queries.ballot_of(editor, undone) == ballot
    with pytest.raises(Refused, match="no vote to undo"):
        votes.undo(comparison, by=Actor.person(editor))
    assert [vote.user for vote in Vote.objects.all()] == [releaser]
    assert vote_through(comparison, editor) == shown


def test_votes_are_not_in_the_audit(comparison, editor):
    before = AuditEntry.objects.count()
    cast(comparison, editor)
    votes.undo(comparison, by=Actor.person(editor))
    assert AuditEntry.objects.count() == before


def test_sides_are_fair_stable_and_independent_between_voters(settings):
    """Of 200 fair coins, 72 to 128 are heads in all but one of 10,000 sets; two voters agree on half of them."""
    settings.SECRET_KEY = "a key that makes this test repeatable"
    ballot = [(input, repeat, pair) for input in range(20) for repeat in range(5) for pair in ((1, 2), (1, 3))]
    drawn = {user: [ballots.first_on_left(user, *each) for each in ballot] for user in (1, 2, 3)}
    for sides in drawn.values():
        assert 72 <= sum(sides) <= 128
    for one, other in ((1, 2), (1, 3), (2, 3)):
        assert 72 <= sum(a == b for a, b in zip(drawn[one], drawn[other], strict=True)) <= 128
    assert drawn[1] == [ballots.first_on_left(1, *each) for each in ballot]
    settings.SECRET_KEY = "another key"
    assert drawn[1] != [ballots.first_on_left(1, *each) for each in ballot]


def test_marks_differ_by_voter_and_the_order_of_pairs_by_comparison(settings):
    settings.SECRET_KEY = "a key that makes this test repeatable"
    marks = {
        ballots.mark(*key, pair) for key in ((1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1)) for pair in ((1, 2), (1, 3))
    }
    assert len(marks) == 8
    orders = {tuple(ballots.pairs(comparison, [1, 2, 3, 4])) for comparison in range(10)}
    assert len(orders) > 5
    assert {frozenset(order) for order in orders} == {frozenset({(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)})}


def test_the_number_of_queries_does_not_grow(actor, editor):
    counts = []
    for arms, inputs in ((2, 2), (4, 40)):
        comparison = compare(actor, arms=arms, inputs=inputs)
        answer(comparison)
        cast(comparison, editor)
        with CaptureQueriesContext(connection) as seen:
            queries.next_ballot(editor, comparison)
            queries.standing(editor, comparison)
            queries.left_to(editor, comparison)
        counts.append(len(seen))
    assert counts == [12, 12]


@pytest.mark.django_db(transaction=True)
def test_two_tabs_at_once_keep_one_vote(actor, editor):
    comparison = compare(actor)
    answer(comparison)
    shown = queries.next_ballot(editor, comparison)
    barrier = Barrier(2)
    results = []

    def tab(side: str) -> None:
        barrier.wait()
        results.append(cast(comparison, editor, side, shown))
        connection.close()

    tabs = [Thread(target=tab, args=[side]) for side in ("left", "right")]
    for each in tabs:
        each.start()
    for each in tabs:
        each.join()
    assert sorted(results) == [False, True]
    assert Vote.objects.count() == 1
