"""Operators who publish against each other, and publishers who are killed: `python -m tests.services.publishing`.

    compete OPERATORS WINS      each operator, a process of their own, publishes until they have won so often
    kill KILLS SEED             a process that publishes without a pause is killed (SIGKILL) again and again

Both work on the database of the environment, which must be new, and end with an error where anything does not agree;
they print what they counted as JSON. The processes are forked, so that each starts within milliseconds.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "promptops.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from promptops.engine import PromptOperation  # noqa: E402
from promptops.ledger import chain as audit_chain  # noqa: E402
from promptops.ledger.audit import COMMAND_LINE, Actor  # noqa: E402
from promptops.ledger.models import AuditEntry, LiveConfiguration, Release  # noqa: E402
from promptops.live import snapshots as live  # noqa: E402
from promptops.people.models import User  # noqa: E402
from promptops.prompts.actions.drafts import save_draft  # noqa: E402
from promptops.prompts.actions.releases import Content, publish  # noqa: E402
from promptops.prompts.actions.templates import create_template  # noqa: E402
from promptops.prompts.errors import StaleRelease  # noqa: E402
from promptops.prompts.models import Draft, Template, Version  # noqa: E402

LONGEST_LIFE = 0.06  # seconds until a publisher is killed: a few publishes


def compete(operators: int, wins: int) -> dict[str, int]:
    """Every operator has a draft of their own; who is too late keeps it, and goes on from the newer version.

    All begin at the same version, so that all but one are refused at least once.
    """
    users = [_operator(number) for number in range(operators)]
    base = _live_version()
    readers = [_forked(lambda user=user: _publish_until_won(user.pk, wins, base)) for user in users]
    told = [_result(reader) for reader in readers]
    assert [result["won"] for result in told] == [wins] * operators
    assert _agree() == operators * wins + 1
    assert not Draft.objects.exists()
    return {"published": operators * wins, "refused": sum(result["refused"] for result in told)}


def _operator(number: int) -> User:
    return User.objects.create(username=f"operator{number}", name=f"Operator {number}", role="releaser")


def _live_version() -> int:
    return int(Template.objects.values_list("live_version", flat=True).get())


def _publish_until_won(user_id: int, wins: int, base: int) -> dict[str, int]:
    user, template = User.objects.get(pk=user_id), Template.objects.get()
    won = refused = 0
    while won < wins:
        text = f"{user.username}'s text {won}"
        save_draft(template, Content(text), user=user, base=base)
        try:
            publish(template, Content(text), by=Actor.person(user), expected=base)
            won += 1
        except StaleRelease:
            refused += 1
            draft = Draft.objects.get(user=user)
            if (draft.body, draft.base_id) != (text, base):
                raise AssertionError("the loser's draft was touched") from None
        base = _live_version()
    assert Version.objects.filter(author=user).count() == wins
    return {"won": won, "refused": refused}


def kill(kills: int, seed: int) -> dict[str, int]:
    """After every kill the database is sound, and all that tells what is live says the same."""
    moments = random.Random(seed)
    user = _operator(1)
    inside = 0
    for number in range(kills):
        ready, started = os.pipe()
        child = _fork(lambda number=number, started=started: _publish_for_ever(user.pk, number, started))
        os.close(started)
        assert os.read(ready, 1) == b"!", "the publisher did not start"
        os.close(ready)
        time.sleep(moments.uniform(0, LONGEST_LIFE))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        _agree()
        if draft := Draft.objects.filter(user=user).first():  # killed before the commit that publishes it
            inside += 1
            assert not Version.objects.filter(body=draft.body).exists()
    return {"kills": kills, "before_the_commit": inside, "published": Version.objects.count() - 1}


def _publish_for_ever(user_id: int, number: int, started: int) -> None:
    user, template = User.objects.get(pk=user_id), Template.objects.get()
    os.write(started, b"!")
    count = 0
    while True:
        count += 1
        base = _live_version()
        save_draft(template, Content(f"text {number}.{count}"), user=user, base=base)
        publish(template, Content(f"text {number}.{count}"), by=Actor.person(user), expected=base)


def _agree() -> int:
    """Check that versions, live pointer, releases, audit and snapshot tell one story; returns the newest number."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            assert cursor.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert cursor.execute("PRAGMA foreign_key_check").fetchall() == []
    assert audit_chain.first_bad_entry() is None
    template = Template.objects.select_related("live_version").get()
    newest = template.live_version
    numbers = list(Version.objects.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, newest.number + 1)), "versions have a gap, a repeat, or one that is not live"
    revision = LiveConfiguration.objects.get().revision
    releases = list(Release.objects.order_by("revision").values_list("revision", "version__number"))
    assert [each for each, _ in releases] == list(range(releases[0][0], revision + 1))
    assert [number for _, number in releases][-newest.number :] == numbers
    entry = AuditEntry.objects.filter(action="template.published").order_by("seq").last()
    assert (entry.revision, entry.after["version"], entry.after["sha256"]) == (revision, newest.number, newest.sha256)
    snapshot = live.load()
    spec = snapshot.template_for(PromptOperation.ENHANCE)
    assert (snapshot.revision, spec.version_number, spec.sha256) == (revision, newest.number, newest.sha256)
    return int(newest.number)


def _fork(work: Callable[[], object]) -> int:
    connection.close()  # each process has its own
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _forked(work: Callable[[], dict[str, int]]) -> int:
    """Do the work in a process of its own; returns where its result can be read."""
    reader, writer = os.pipe()
    _fork(lambda: os.write(writer, json.dumps(work()).encode()))
    os.close(writer)
    return reader


def _result(reader: int) -> dict[str, int]:
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    assert text, "an operator's process ended early; see above"
    return dict(json.loads(text))


if __name__ == "__main__":
    what, *figures = sys.argv[1:]
    call_command("migrate", verbosity=0)
    start = create_template("enhance", "enhance", by=COMMAND_LINE)
    publish(start, Content("Start"), by=COMMAND_LINE, expected=None)
    print(json.dumps({"compete": compete, "kill": kill}[what](*map(int, figures))))
