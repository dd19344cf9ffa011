"""Messages that "Try it" sends with a user template and examples, over the socket to a loopback provider."""

import pytest
from channels.db import database_sync_to_async

from promptops.ledger.audit import SYSTEM
from promptops.prompts.actions import variables
from promptops.runs.actions import erasing
from promptops.runs.models import Run
from tests.engine.helpers import answer_with, loopback
from tests.runs.test_previews import frames, message, prepare, streamed
from tests.web.sockets import page_socket

pytestmark = pytest.mark.django_db(transaction=True)

USER = "In {{ style }}: {{ input }}"
EXAMPLES = "{{ style }}\r\n=>\r\nA red fox."
SENT = [
    ("system", "My text."),
    ("user", "{{ style }}"),
    ("assistant", "A red fox."),
    ("user", "In noir: a {{ style }} fox"),
]


def messages(request) -> list[tuple[str, str]]:
    return [(part["role"], part["content"]) for part in request.body["messages"]]


async def test_the_editors_texts_are_sent_and_kept_with_the_run(publish, make_user, client_for):
    async with loopback(answer_with(*streamed("A fox."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        await database_sync_to_async(variables.declare)("enhance", "style", "noir", by=SYSTEM)
        rules = "at most 9 words"
        typed = {"input": "a {{ style }} fox", "user_template": USER, "examples": EXAMPLES, "answer_rules": rules}
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(**typed))
            await frames(socket, "/runs/")
    assert messages(upstream.requests[0]) == SENT
    run = await Run.objects.aget()
    kept = (run.draft_body, run.draft_user_template, run.draft_examples, run.draft_answer_rules)
    assert kept == ("My text.", USER, EXAMPLES.replace("\r\n", "\n"), rules)

    def pages() -> None:
        page = client_for(editor).get(f"/runs/{run.pk}/").content.decode()
        assert "In {{ style }}: {{ input }}</div>" in page
        assert "Examples of the draft" in page
        assert "at most 9 words</div>" in page
        erasing.erase(run, by=SYSTEM)
        run.refresh_from_db()
        assert (run.draft_user_template, run.draft_examples, run.draft_answer_rules) == (None, None, None)

    await database_sync_to_async(pages)()


async def test_a_version_is_sent_as_it_was_published_and_the_run_copies_nothing(publish, make_user):
    async with loopback(answer_with(*streamed("A fox."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        await database_sync_to_async(publish)("enhance", "My text.", user_template="> {{ input }}")
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(what="2"))
            await frames(socket, "/runs/")
    assert messages(upstream.requests[0]) == [("system", "My text."), ("user", "> a fox")]
    run = await Run.objects.aget()
    assert (run.draft_body, run.draft_user_template, run.draft_examples) == ("", None, None)


async def test_the_count_of_alternatives_is_filled_in(publish, make_user):
    async with loopback(answer_with(*streamed("One\nTwo"))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            fields = {"template": "rewrite", "count": "2", "user_template": "{{ count }} of {{ input }}"}
            await socket.send_to(text_data=message(**fields))
            await frames(socket, "/runs/")
    assert messages(upstream.requests[0])[-1] == ("user", "2 of a fox")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"user_template": "{{ scene }} {{ input }}"}, "{{ scene }} is not declared"),
        ({"examples": "a"}, "Example 1 has no line"),
    ],
)
async def test_texts_that_fail_their_check_are_not_sent(publish, make_user, fields, sentence):
    async with loopback(answer_with(*streamed("A fox."))) as upstream:
        editor = await prepare(publish, make_user, upstream.url)
        async with page_socket(editor) as socket:
            await socket.send_to(text_data=message(**fields))
            assert sentence in (await frames(socket, sentence))[-1]
    assert upstream.requests == []
