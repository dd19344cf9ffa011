"""The voting page over HTTP and the socket: blindness before a vote, casting votes, and the warning on other pages."""

import re

import pytest
from channels.db import database_sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from promptops.compare import ballots
from promptops.compare.actions import comparisons
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial, Vote
from promptops.engine.types import PromptOperation
from promptops.ledger.audit import Actor
from promptops.ledger.models import AuditEntry
from promptops.live.snapshots import load
from promptops.platform import events
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider
from promptops.runs.models import Attempt, Run
from tests.comparing import answer, change_runs, compare
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db


@pytest.fixture
def comparison(actor) -> Comparison:
    made = compare(actor)
    answer(made)
    return made


def url(comparison: Comparison, rest: str = "vote/") -> str:
    return f"/compare/{comparison.pk}/{rest}"


def fields(page: str) -> dict[str, str]:
    """Return the fields that the form of the page sends."""
    return dict(re.findall(r'name="(input|repeat|ballot)" value="([^"]*)"', page))


def vote(browser, comparison: Comparison, side: str = "left", **more):
    shown = fields(browser.get(url(comparison)).content.decode())
    return browser.post(url(comparison), shown | {"side": side} | more)


# ---------------------------------------------------------------- the page


def test_it_shows_a_ballot_saves_the_vote_and_shows_the_next(comparison, client_for, editor):
    browser = client_for(editor)
    page = browser.get(url(comparison)).content.decode()
    assert "<b>0</b> of 2" in page
    assert "a fox, take 0" in page
    assert {"answer A0.0", "answer B0.0"} <= set(re.findall(r"answer \w\d\.\d", page))
    assert "Undo the last vote" not in page.split('id="shortcuts"')[0]
    for number in (1, 2):
        response = vote(browser, comparison, "tie")
        assert (response.status_code, response["Location"]) == (302, url(comparison))
        assert Vote.objects.filter(choice="tie").count() == number
    page = browser.get(url(comparison)).content.decode()
    assert "You have voted on all 2" in page
    assert "Undo the last vote" in page
    browser.post(url(comparison, "vote/take-back/"))
    assert "<b>1</b> of 2" in browser.get(url(comparison)).content.decode()


def test_the_fragment_announces_the_result(comparison, client_for, editor, releaser):
    vote(client_for(releaser), comparison)
    browser = client_for(editor, htmx=True)
    shown = fields(browser.get(url(comparison)).content.decode())
    page = browser.post(url(comparison), shown | {"side": "left"}).content.decode()
    assert page.lstrip().startswith('<div id="ballot"')
    assert "Voted: A is better. 1 of 2." in page
    assert "1 other voter<" in page
    again = browser.post(url(comparison), shown | {"side": "right"}).content.decode()
    assert "You had already voted on this ballot" in again
    assert fields(again)["input"] != shown["input"]
    back = browser.post(url(comparison, "vote/take-back/")).content.decode()
    assert fields(back) == shown
    assert "Your last vote was undone. 0 of 2." in back
    assert "no vote to undo" in browser.post(url(comparison, "vote/take-back/")).content.decode()


@pytest.mark.parametrize(
    "change", [{"side": "first"}, {"ballot": "x"}, {"input": "-1"}, {"repeat": "x"}, {"input": ""}]
)
def test_a_forged_vote_is_refused_with_a_message(comparison, client_for, editor, change):
    page = vote(client_for(editor, htmx=True), comparison, **change).content.decode()
    assert "Choose A, B" in page or "can no longer be voted on" in page
    assert "<b>0</b> of 2" in page
    assert not Vote.objects.exists()


def test_a_viewer_may_not_vote(comparison, client_for, viewer):
    browser = client_for(viewer)
    for answered in (browser.get(url(comparison)), browser.post(url(comparison), {"side": "left"})):
        assert answered.status_code == 403
    assert "/vote/" not in browser.get(url(comparison, "")).content.decode()


def test_nothing_to_vote_on_says_why(actor, client_for, editor):
    browser = client_for(editor)
    comparison = compare(actor)
    assert "Nothing to vote on yet" in browser.get(url(comparison)).content.decode()
    answer(comparison, lambda trial: "the same")
    assert "All answers are identical so far" in browser.get(url(comparison)).content.decode()
    Comparison.objects.update(state="done", finished_at=timezone.now())
    assert "No answers differ: 2 pairs" in browser.get(url(comparison)).content.decode()
    change_runs(Run.objects.all(), erased_at=timezone.now())
    assert "No input has two answers that can be compared" in browser.get(url(comparison)).content.decode()


def test_answers_are_escaped(actor, client_for, editor):
    comparison = compare(actor)
    hostile = '</div></form><script>alert(1)</script>\n<img src=x onerror="x">{{ csrf_token }}'
    answer(comparison, lambda trial: hostile + trial.arm.letter)
    page = client_for(editor).get(url(comparison)).content.decode()
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;\n&lt;img") == 2
    assert "<script>alert" not in page
    assert "{{ csrf_token }}" in page


def test_the_number_of_queries_does_not_grow(actor, client_for, editor):
    browser = client_for(editor)
    counts = []
    for arms, inputs in ((2, 2), (4, 60)):
        comparison = compare(actor, arms=arms, inputs=inputs)
        answer(comparison)
        browser.get(url(comparison))
        with CaptureQueriesContext(connection) as queries:
            browser.get(url(comparison))
        counts.append(len(queries))
    assert counts[0] == counts[1]


# ---------------------------------------------------------------- the warning on other pages


def test_answers_warn_a_person_with_ballots_left_until_they_choose_to_see(comparison, client_for, editor, viewer):
    browser = client_for(editor)
    address = url(comparison, "?q=fox")
    page = browser.get(address).content.decode()
    assert "Hidden until you have voted" in page
    assert "You have 2 ballots left" in page
    assert "answer A0" not in page
    assert "answer A0" in client_for(viewer).get(address).content.decode()  # a viewer may not vote
    response = browser.post(url(comparison, "seen/"), {"next": address})
    assert response["Location"] == address
    assert "answer A0" in browser.get(address).content.decode()
    assert "Hidden until you have voted" in client_for(editor).get(address).content.decode()  # another session


def test_answers_are_shown_without_a_warning_after_all_votes(comparison, client_for, editor):
    browser = client_for(editor)
    for _ in range(2):
        vote(browser, comparison)
    assert "answer A0" not in browser.get(url(comparison, "")).content.decode()  # more answers may still arrive
    Comparison.objects.update(state="done")
    assert "answer A0" in browser.get(url(comparison, "")).content.decode()


@pytest.mark.parametrize("wanted", ["", "https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"])
def test_show_it_redirects_only_to_this_site(comparison, client_for, editor, wanted):
    assert client_for(editor).post(url(comparison, "seen/"), {"next": wanted})["Location"] == url(comparison, "")


# ---------------------------------------------------------------- blindness: every byte before the vote


def answer_marked(trial: Trial, run_id: int) -> None:
    """End the trial with figures that occur nowhere else."""
    run = Run.objects.create(
        pk=run_id,
        source="comparison",
        operation="enhance",
        template=trial.arm.template,
        version=trial.arm.version,
        temperature=trial.arm.temperature,
        max_tokens=trial.arm.max_tokens,
        revision=1,
        input=trial.input.text,
        output=f"An answer, {('north', 'south')[trial.arm.position]} of {trial.input.position}.",
        status="succeeded",
        provider=trial.arm.provider_name,
        model=trial.arm.provider_model,
        latency_ms=8_710 + trial.arm.position,
        truncated=trial.arm.position == 0,
        cost=0.0871 + trial.arm.position / 10_000,
    )
    Attempt.objects.create(
        run=run,
        position=1,
        provider=trial.arm.provider_name,
        outcome="succeeded",
        started_ms=0,
        latency_ms=8_710,
        output_tokens=8_715 + trial.arm.position,
        finish_reason=f"zz-reason-{trial.arm.position}",
    )
    Trial.objects.filter(pk=trial.pk).update(
        state="succeeded", run=run, finished_at=timezone.now(), answer_hash=run.answer_hash
    )


@pytest.fixture
def marked(actor, publish) -> Comparison:
    """A running comparison in which every property of an arm has a name, number or word that occurs nowhere else."""
    arms = []
    for letter, number in (("p", 871), ("q", 872)):
        version = publish(f"zz-template-{letter}", f"Zz text {letter}.", operation="enhance", note=f"Zz note {letter}")
        provider = create_provider(
            ProviderFields(f"zz-provider-{letter}", "openai", f"zz-model-{letter}", f"http://zz-{letter}.example/v1"),
            by=actor,
        )
        content = Content(f"Zz text {letter}.", number / 1000, number, f"zz-own-model-{letter}")
        arms.append(ArmChoice(version.template, version, content, provider))
    comparison = comparisons.start(
        *("One or the other", PromptOperation.ENHANCE, ["a fox", "a hen"], arms),
        by=actor,
        snapshot=load(),
        inputs_from="Foxes",
    )
    # The command bar lists every template that is not archived.
    Template.objects.filter(name__startswith="zz").update(archived_at=timezone.now(), is_default=False)
    for place, trial in enumerate(comparison.trials.order_by("pk")):
        answer_marked(trial, 7_654_300 + 10 * place)
    # The frame of every page has the number of the newest run.
    Run.objects.create(
        pk=9_000_000,
        source="preview",
        operation="enhance",
        temperature=1,
        max_tokens=1,
        revision=1,
        status="failed",
        latency_ms=1,
    )
    publish("enhance", "Something else is live.")
    return comparison


TELLTALE = re.compile(
    r"zz|871|872|76543|8[.,]?71|temperature|tokens|latency|provider-|model-|first|second|trial-?\d|arm-?\d|"
    r"data-(arm|version|run|trial|position)\b",
    re.I,
)
# The frame: the command bar, the live badge, the strip of levers, and the names of scripts and styles.
FRAME = re.compile(
    r'<dialog id="commands".*?</dialog>|<head>.*?</head>|<header class="top">.*?</header>|<div id="levers"[^>]*>', re.S
)


def everything(response) -> str:
    """Return all text of a response: headers, cookies and body."""
    headers = "\n".join(f"{name}: {value}" for name, value in response.items())
    return f"{headers}\n{response.cookies.output()}\n{response.content.decode()}"


def without_tokens(text: str) -> str:
    """Return the text without what differs in each response, such as CSRF tokens, nonces, times and its length."""
    return re.sub(r"[A-Za-z0-9_-]{32,}|expires=[^;]*|Expires: .*|Content-Length: .*|nonce-[^']*", "…", text)


@pytest.mark.parametrize("on_left", [True, False], ids=["first on the left", "second on the left"])
@pytest.mark.parametrize("htmx", [False, True], ids=["page", "fragment"])
def test_nothing_that_is_sent_before_a_vote_identifies_an_arm(marked, client_for, editor, monkeypatch, on_left, htmx):
    monkeypatch.setattr(ballots, "first_on_left", lambda *_: on_left)
    browser = client_for(editor, htmx=htmx)
    sent = [
        browser.get(url(marked)),
        browser.get(url(marked), headers={"HX-Target": "standing"}),
        browser.post(url(marked), {"side": "left"}),
        browser.post(url(marked, "vote/take-back/")),
        browser.get(url(marked, "")),
        browser.get(url(marked, "?part=live&was_blind=1")),
        browser.get(url(marked, "?from=1&part=rows")),
        browser.get(url(marked, "report/")),
    ]
    shown = fields(browser.get(url(marked)).content.decode())
    sent.append(browser.post(url(marked), shown | {"side": "left"}))  # shows the next ballot
    sent.append(browser.post(url(marked), shown | {"side": "left"}))
    page = sent[0].content.decode()
    assert ("north" in page, "south" in page) == (True, True)
    assert (page.index("north") < page.index("south")) is on_left
    for response in sent:
        text = FRAME.sub("", everything(response))
        shown_text = without_tokens(text)
        assert [match.group() for match in TELLTALE.finditer(shown_text)] == []
        assert "etag" not in shown_text.lower().split("<", 1)[0]
    # The frame does not name an arm either; it names a release only by its number and person.
    assert "zz" not in without_tokens(page)


def test_swapping_the_arms_does_not_change_the_page(marked, client_for, editor, monkeypatch):
    """The strongest form of blindness: with the same answers on both sides, no byte depends on their arms."""
    browser = client_for(editor)

    def page(on_left: bool) -> str:
        monkeypatch.setattr(ballots, "first_on_left", lambda *_: on_left)
        return without_tokens(everything(browser.get(url(marked))))

    before = page(True)
    # Every answer now belongs to the other arm; the sides are chosen so that each answer stays where it was.
    one, other = marked.arms.all()
    Trial.objects.filter(arm=one).update(arm=other, repeat=1)
    Trial.objects.filter(arm=other, repeat=0).update(arm=one)
    Trial.objects.filter(arm=other).update(repeat=0)
    after = page(False)
    assert before == after
    assert before.index("north") < before.index("south")


def test_an_export_needs_the_choice_to_see_the_arms(marked, client_for, editor):
    browser = client_for(editor)
    trials_as_jsonl = {"what": "trials", "format": "jsonl"}
    response = browser.post(url(marked, "export/"), trials_as_jsonl, follow=True)
    assert response.redirect_chain == [(url(marked, "report/"), 302)]
    assert "the file shows which arm is which" in response.content.decode()
    assert not AuditEntry.objects.filter(action="comparison.exported").exists()
    browser.post(url(marked, "seen/"))
    assert browser.post(url(marked, "export/"), trials_as_jsonl)["Content-Disposition"].endswith('trials.jsonl"')


def test_the_mark_differs_by_voter_and_is_only_a_digest(marked, client_for, editor, releaser):
    marks = [fields(client_for(user).get(url(marked)).content.decode())["ballot"] for user in (editor, releaser)]
    assert len(set(marks)) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in marks)


@pytest.mark.django_db(transaction=True)
async def test_the_hint_of_a_vote_has_only_the_number_of_the_comparison(actor, editor, viewer):
    from promptops.compare.actions import votes
    from promptops.compare.queries import votes as queries

    def prepare() -> tuple[Comparison, queries.Ballot]:
        comparison = compare(actor)
        answer(comparison)
        return comparison, queries.next_ballot(editor, comparison)

    comparison, shown = await database_sync_to_async(prepare)()
    async with page_socket(viewer) as socket:
        while not await socket.receive_nothing(0.3):
            await socket.receive_from()
        fields = {"input": shown.input, "repeat": shown.repeat, "ballot": shown.mark, "side": "left"}
        before = await AuditEntry.objects.acount()
        await database_sync_to_async(votes.cast)(comparison, by=Actor.person(editor), **fields)
        hints = [await socket.receive_json_from(timeout=5)]
        while not await socket.receive_nothing(0.3):
            hints.append(await socket.receive_json_from())
    # Hints of earlier changes may arrive late, that of the comparison among them, and servers come and go.
    others = {(events.AUDIT_RECORDED, before), (events.FLEET_CHANGED, 0)}
    of_the_vote = [hint for hint in hints if (hint["event"], hint["number"]) not in others]
    of_the_comparison = {"event": events.COMPARISON_CHANGED, "number": comparison.pk}
    assert of_the_vote
    assert [hint for hint in of_the_vote if hint != of_the_comparison] == []


def test_only_people_with_votes_count_as_voters(comparison, client_for, editor, make_user):
    assert "other voter" not in client_for(editor).get(url(comparison)).content.decode()
    for name in ("one", "two"):
        vote(client_for(make_user("editor", name)), comparison)
    assert "2 other voters" in client_for(editor).get(url(comparison)).content.decode()
