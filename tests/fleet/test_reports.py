"""Messages of servers: what a process makes of them, and what it writes."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from promptops.fleet import contents
from promptops.fleet.actions import servers as actions
from promptops.fleet.enums import Outcome
from promptops.fleet.messages import Applied, Drifted, InvalidMessage, Refused
from promptops.fleet.models import Acknowledgement, Server
from promptops.fleet.reports import UNKNOWN_FOR, Reports
from promptops.ledger.models import Release
from tests.fleet.servers import applied, heartbeat, register, runs, save_server

pytestmark = pytest.mark.django_db
OTHER = "cd" * 32


@pytest.fixture
def reports() -> Reports:
    return Reports()


def write(reports: Reports) -> None:
    actions.write(reports.batch(everything=True))


def outcomes(revision: int) -> dict[str, str]:
    return dict(Acknowledgement.objects.filter(revision=revision).values_list("server", "outcome"))


def test_a_server_that_applies_a_release_acknowledges_it_with_the_time_that_it_took(reports, released):
    document = released()
    at = Release.objects.get(revision=document.revision).at
    server = reports.register(register(), now=at - timedelta(seconds=5))
    reports.hear(server, applied(document), now=at + timedelta(seconds=0.25))
    write(reports)
    (row,) = Acknowledgement.objects.all()
    assert (row.server, row.outcome, row.was_away) == ("gpu-7", Outcome.APPLIED, False)
    assert row.seconds == pytest.approx(0.25)
    saved = Server.objects.get()
    assert (saved.revision, saved.sha256, saved.has_other_content) == (document.revision, document.sha256, False)
    assert saved.since == at + timedelta(seconds=0.25)


def test_content_with_another_hash_is_drift_and_no_acknowledgement(reports, released):
    document = released()
    server = reports.register(register(), now=timezone.now())
    reports.hear(server, applied(document, sha256=OTHER), now=timezone.now())
    write(reports)
    assert Server.objects.get().has_other_content
    assert outcomes(document.revision) == {"gpu-7": Outcome.DRIFTED}
    reports.hear(server, applied(document), now=timezone.now())
    write(reports)
    assert not Server.objects.get().has_other_content
    assert outcomes(document.revision) == {"gpu-7": Outcome.APPLIED}


def test_a_heartbeat_alone_counts_when_the_acknowledgement_was_lost(reports, released):
    document = released()
    server = reports.register(register(), now=timezone.now())
    reports.hear(server, heartbeat(document, runs_a_minute=3.5), now=timezone.now())
    write(reports)
    assert outcomes(document.revision) == {"gpu-7": Outcome.APPLIED}
    assert Server.objects.get().runs_a_minute == 3.5


def test_a_refusal_is_kept_until_the_server_applies_a_revision(reports, released):
    document = released()
    server = reports.register(register(), now=timezone.now())
    reports.hear(server, Refused(revision=document.revision, epoch=document.epoch, why="Bad."), now=timezone.now())
    write(reports)
    assert Server.objects.get().refused_revision == document.revision
    assert outcomes(document.revision) == {"gpu-7": Outcome.REFUSED}
    reports.hear(server, applied(document), now=timezone.now())
    write(reports)
    assert Server.objects.get().refused_revision is None
    assert outcomes(document.revision) == {"gpu-7": Outcome.APPLIED}


def test_a_drifted_server_stays_drifted_through_heartbeats(reports, released):
    document = released()
    server = reports.register(register(kind="files", **runs(document)), now=timezone.now())
    reports.hear(server, Drifted(**runs(document), why="enhance.txt was changed"), now=timezone.now())
    reports.hear(server, heartbeat(document), now=timezone.now())
    write(reports)
    assert Server.objects.get().drift == "enhance.txt was changed"
    reports.hear(server, applied(document), now=timezone.now())
    assert reports.batch(everything=False).servers[0].drift == "", "the end of a drift waits for no heartbeat"


def test_a_server_that_drifts_on_a_revision_refuses_it_no_longer(reports, released):
    document = released()
    server = reports.register(register(kind="files"), now=timezone.now())
    reports.hear(server, Refused(revision=document.revision, epoch=document.epoch, why="No reload"), now=timezone.now())
    reports.hear(server, Drifted(**runs(document), why="Other texts"), now=timezone.now())
    write(reports)
    saved = Server.objects.get()
    assert (saved.refused_revision, saved.refusal, saved.drift) == (None, "", "Other texts")


def test_a_revision_that_this_process_does_not_have_yet_is_judged_when_it_has(reports, released):
    document, now = released(), timezone.now()
    server = reports.register(register(), now=now)
    ahead = Applied(revision=document.revision + 1, epoch=document.epoch, sha256=OTHER)
    reports.hear(server, ahead, now=now)
    reports.settle(now=now)
    write(reports)
    assert not outcomes(document.revision + 1)
    newest = released("Newer")
    contents.remember(newest.epoch, newest.revision, OTHER)
    reports.settle(now=now)
    write(reports)
    assert outcomes(newest.revision) == {"gpu-7": Outcome.APPLIED}


def test_a_revision_that_never_comes_is_other_content(reports, released):
    document, now = released(), timezone.now()
    server = reports.register(register(), now=now)
    reports.hear(server, Applied(revision=document.revision + 9, epoch=document.epoch, sha256=OTHER), now=now)
    reports.settle(now=now + UNKNOWN_FOR)
    write(reports)
    assert Server.objects.get().has_other_content
    assert not Acknowledgement.objects.exists()


def test_another_line_of_history_acknowledges_nothing(reports, released):
    document, now = released(), timezone.now()
    contents.remember("before", document.revision, OTHER)
    server = reports.register(register(), now=now)
    reports.hear(server, Applied(revision=document.revision, epoch="before", sha256=OTHER), now=now)
    reports.hear(server, Refused(revision=document.revision, epoch="before"), now=now)
    write(reports)
    assert not Acknowledgement.objects.exists()


def test_the_first_acknowledgement_counts_when_a_server_connects_again(reports, released):
    document = released()
    at = Release.objects.get(revision=document.revision).at
    reports.hear(reports.register(register(), now=at), applied(document), now=at + timedelta(seconds=1))
    write(reports)
    later = Reports()
    later.register(register(**runs(document)), now=at + timedelta(days=2))
    write(later)
    (row,) = Acknowledgement.objects.all()
    assert row.seconds == pytest.approx(1)
    assert Server.objects.get().since == at + timedelta(seconds=1)


def test_a_server_that_connects_after_the_release_was_away(reports, released):
    document = released()
    reports.register(register(**runs(document)), now=timezone.now() + timedelta(seconds=60))
    write(reports)
    assert Acknowledgement.objects.get().was_away


@pytest.mark.parametrize(
    ("before", "is_replaced"),
    [
        ({"is_connected": False}, True),
        ({"silent_for": 60}, True),
        ({}, False),
        ({"kind": "process"}, True),
    ],
    ids=["left", "silent", "still there", "a process"],
)
def test_a_new_life_of_a_server_replaces_the_old_one(reports, released, before, is_replaced):
    released()
    save_server(instance="old", **before)
    reports.register(register(instance="new"), now=timezone.now())
    write(reports)
    assert set(Server.objects.values_list("instance", flat=True)) == ({"new"} if is_replaced else {"new", "old"})


def test_heartbeats_write_nothing_by_themselves(reports, released):
    document = released()
    server = reports.register(register(**runs(document)), now=timezone.now())
    write(reports)
    reports.hear(server, heartbeat(document), now=timezone.now())
    batch = reports.batch(everything=False)
    assert not batch.servers
    assert not batch.has_news
    assert [each.name for each in reports.batch(everything=True).servers] == ["gpu-7"]
    assert not reports.batch(everything=True).servers


@pytest.mark.parametrize("count", [1, 30])
def test_a_batch_takes_the_same_number_of_statements_for_any_number_of_servers(released, count):
    document = released()
    reports = Reports()
    for number in range(count):
        server = reports.register(register(f"gpu-{number}"), now=timezone.now())
        reports.hear(server, applied(document), now=timezone.now())
    with CaptureQueriesContext(
        connection,
    ) as queries:
        write(reports)
    assert len(queries) <= 9
    assert Acknowledgement.objects.count() == Server.objects.count() == count


def test_a_batch_that_could_not_be_written_comes_again(reports, released):
    document = released()
    server = reports.register(register(), now=timezone.now())
    reports.hear(server, applied(document), now=timezone.now())
    reports.give_back(reports.batch(everything=True))
    write(reports)
    assert outcomes(document.revision) == {"gpu-7": Outcome.APPLIED}


def test_the_number_of_servers_is_bounded(reports, monkeypatch):
    monkeypatch.setattr("promptops.fleet.reports.MOST_SERVERS", 2)
    for number in range(2):
        reports.register(register(f"gpu-{number}"), now=timezone.now())
    reports.register(register("gpu-1"), now=timezone.now())
    with pytest.raises(InvalidMessage):
        reports.register(register("gpu-2"), now=timezone.now())


def test_servers_that_left_leave_the_memory_when_they_are_written(reports):
    now = timezone.now()
    server = reports.register(register(), now=now)
    reports.leave(server, now=now)
    later = now + timedelta(minutes=5)
    reports.drop_those_gone(now=later)
    assert reports.servers
    write(reports)
    reports.drop_those_gone(now=later)
    assert not reports.servers
    assert not Server.objects.get().is_connected


def test_old_roll_outs_are_deleted_whole(monkeypatch, released):
    monkeypatch.setattr(actions, "MOST_ACKNOWLEDGEMENTS", 5)
    for revision in (1, 2, 3):
        for number in range(4):
            Acknowledgement.objects.create(
                revision=revision,
                server=f"gpu-{number}",
                instance="1",
                kind="library",
                outcome="applied",
                at=timezone.now(),
                seconds=1,
            )
    actions.prune()
    assert set(Acknowledgement.objects.values_list("revision", flat=True)) == {3}
    actions.prune()
    assert Acknowledgement.objects.count() == 4


def test_servers_that_left_long_ago_are_deleted(released):
    released()
    save_server("old-process", kind="process", silent_for=2 * 3600)
    save_server("old", silent_for=91 * 86400)
    save_server("silent", silent_for=2 * 3600)
    actions.prune()
    assert list(Server.objects.values_list("name", flat=True)) == ["silent"]
