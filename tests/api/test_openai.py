"""The OpenAI-compatible door in process: operations as models, what a caller may lower, streams, and errors.

The openai client and curl against a real server are in tests/services/test_openai_clients.py.
"""

import json

import pytest

from promptops.ledger.audit import SYSTEM
from promptops.live import snapshots as live
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from tests.api.running import BROKEN, FOX, deny, in_database, providers, recorded, text_answer
from tests.api.test_running import SCENE
from tests.engine.helpers import answer_with, completion, http_answer
from tests.factories import publish
from tests.runs.test_previews import streamed

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = "/v1/chat/completions"


def chat(*messages: tuple[str, str], model: str = "promptops/enhance", **more) -> dict:
    """Return a chat: one user message, or these messages."""
    pairs = messages or (("user", "a fox"),)
    return {"model": model, "messages": [{"role": role, "content": text} for role, text in pairs]} | more


def chunks(text: str) -> list[dict]:
    """Return the chunks of a stream, which ends as OpenAI's does."""
    lines = [line.removeprefix("data: ") for line in text.strip().split("\n\n")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def error(response, status: int, kind: str, code: str) -> dict:
    """Return the error of a response, in OpenAI's shape."""
    assert response.status_code == status, response.text
    found = response.json()["error"]
    assert (found["type"], found["code"]) == (kind, code)
    assert found["message"]
    return found


async def test_a_chat_runs_the_operation_on_the_last_user_message(machine):
    caller = await in_database(machine, "run")
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    async with providers(answer_with(http_answer(completion("A red fox.", usage=usage)))) as [upstream]:
        messages = [("system", "Be brief."), ("user", "a hen"), ("assistant", "A hen."), ("user", "a fox")]
        response = await caller.arequest("POST", CHAT, json=chat(*messages))
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["object"], body["model"]) == ("chat.completion", "promptops/enhance")
    [choice] = body["choices"]
    assert choice["message"]["content"] == "A red fox."
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    assert body["usage"] == usage
    assert response.headers["x-promptops-revision"] == str(live.current().revision)
    sent = upstream.requests[0].body["messages"]
    assert [each["content"] for each in sent] == ["The enhance text.", "a fox"]
    [run] = await recorded()
    assert (run.source, body["id"]) == ("api", f"chatcmpl-{run.public_id}")


async def test_a_list_operation_takes_all_user_messages(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        messages = [("user", "One."), ("assistant", "Between."), ("user", "Two.")]
        await caller.arequest("POST", CHAT, json=chat(*messages, model="promptops/auto_extend"))
    assert upstream.requests[0].body["messages"][1]["content"] == "One.\nTwo."


async def test_an_operation_with_fields_takes_one_json_object(machine):
    caller = await in_database(machine, "run")
    await in_database(operations.add, "plan", SCENE, by=SYSTEM)
    await in_database(publish, "plan", "Plan it.", operation="plan")
    async with providers(text_answer('{"shots": []}')):
        good = await caller.arequest("POST", CHAT, json=chat(("user", '{"scene": "snow"}'), model="promptops/plan"))
        assert good.json()["choices"][0]["message"]["content"] == '{"shots": []}'
        for text in ("snow", '{"place": "snow"}'):
            bad = await caller.arequest("POST", CHAT, json=chat(("user", text), model="promptops/plan"))
            assert error(bad, 422, "invalid_request_error", "invalid")["param"] == "messages"


@pytest.mark.parametrize("keeps", [True, False])
async def test_the_callers_system_text_is_kept_only_where_the_operation_says_so(machine, keeps):
    caller = await in_database(machine, "run")
    await in_database(operations.add, "caption", OperationFields("Names.", keeps_system=keeps), by=SYSTEM)
    await in_database(publish, "caption", "Our text.", operation="caption")
    async with providers(FOX) as [upstream]:
        await caller.arequest(
            "POST", CHAT, json=chat(("system", "Mine."), ("user", "a fox"), model="promptops/caption")
        )
        await caller.arequest("POST", CHAT, json=chat(model="promptops/caption"))
    systems = [request.body["messages"][0]["content"] for request in upstream.requests]
    assert systems == ["Mine." if keeps else "Our text.", "Our text."]
    first, second = await recorded(2)
    assert (first.version_id is None, first.draft_body) == ((True, "Mine.") if keeps else (False, ""))
    assert (second.version.number, second.draft_body) == (1, "")


@pytest.mark.parametrize(
    ("sent", "temperature", "max_tokens"),
    [
        ({}, 0.5, 100),
        ({"temperature": 0.1, "max_tokens": 20}, 0.1, 20),
        ({"temperature": 1.9, "max_tokens": 4_000}, 0.5, 100),
        ({"temperature": 0, "max_completion_tokens": 30, "max_tokens": 50}, 0, 30),
    ],
)
async def test_a_caller_can_only_lower_temperature_and_tokens(machine, sent, temperature, max_tokens):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        await in_database(publish, "enhance", "Another text.", temperature=0.5, max_tokens=100)
        await caller.arequest("POST", CHAT, json=chat(**sent))
    body = upstream.requests[0].body
    assert (body["temperature"], body["max_tokens"]) == (temperature, max_tokens)
    [run] = await recorded()
    assert (run.temperature, run.max_tokens) == (temperature, max_tokens)


async def test_a_stream_comes_in_chunks(machine):
    caller = await in_database(machine, "run")
    async with providers(answer_with(*streamed("A red ", "fox."))):
        sent = chat(stream=True, stream_options={"include_usage": True})
        response = await caller.arequest("POST", CHAT, json=sent)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-promptops-revision"]
    *pieces, last, usage = chunks(response.text)
    assert {piece["object"] for piece in [*pieces, last, usage]} == {"chat.completion.chunk"}
    assert len({piece["id"] for piece in [*pieces, last, usage]}) == 1
    assert pieces[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == "A red fox."
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], set(usage["usage"])) == ([], {"prompt_tokens", "completion_tokens", "total_tokens"})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_text_is_an_error_with_its_status(machine, stream):
    caller = await in_database(machine, "run")
    respond = answer_with(*streamed("An evil ", "fox.")) if stream else text_answer("An evil fox.")
    async with providers(respond):
        await in_database(deny, "evil fox")
        for text in ("an evil fox", "a fox"):
            response = await caller.arequest("POST", CHAT, json=chat(("user", text), stream=stream))
            error(response, 422, "invalid_request_error", "blocked")
            assert "An evil" not in response.text


@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_is_an_error_of_the_server(machine, stream):
    caller = await in_database(machine, "run")
    async with providers(BROKEN):
        response = await caller.arequest("POST", CHAT, json=chat(stream=stream))
    error(response, 502, "server_error", "unanswered")


async def test_a_stream_of_an_input_that_goes_on_has_the_input(machine):
    caller = await in_database(machine, "run")
    await in_database(operations.add, "caption", OperationFields("Names.", on_failure="input"), by=SYSTEM)
    await in_database(publish, "caption", "Our text.", operation="caption")
    async with providers(BROKEN):
        response = await caller.arequest("POST", CHAT, json=chat(model="promptops/caption", stream=True))
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in chunks(response.text)) == "a fox"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (chat(n=2), None),
        (chat(tools=[{"type": "function"}]), None),
        (chat(("system", "Only this.")), "messages"),
        (chat(("user", " ")), "messages"),
        (chat(("user", "x" * 16_001)), "messages"),
        (chat() | {"messages": []}, "messages"),
        (chat() | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, None),
        (chat(temperature=-1), "temperature"),
    ],
)
async def test_a_chat_that_cannot_run_is_refused(machine, sent, param):
    caller = await in_database(machine, "run")
    async with providers(FOX) as [upstream]:
        found = error(await caller.arequest("POST", CHAT, json=sent), 422, "invalid_request_error", "invalid")
    assert not upstream.requests
    if param:
        assert found["param"] == param


async def test_texts_may_come_in_parts(machine):
    caller = await in_database(machine, "run")
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "fox"}]
    async with providers(FOX) as [upstream]:
        await caller.arequest("POST", CHAT, json=chat() | {"messages": [{"role": "user", "content": parts}]})
    assert upstream.requests[0].body["messages"][1]["content"] == "a fox"


async def test_operations_are_listed_as_models(machine):
    caller = await in_database(machine, "run")
    async with providers(FOX):
        listed = (await caller.arequest("GET", "/v1/models")).json()
        assert listed["object"] == "list"
        ids = [model["id"] for model in listed["data"]]
        assert ids == [f"promptops/{name}" for name in live.current().operations]
        assert (await caller.arequest("GET", f"/v1/models/{ids[0]}")).json()["id"] == ids[0]
        missing = await caller.arequest("GET", "/v1/models/gpt-4")
        assert error(missing, 404, "invalid_request_error", "not-found")["param"] == "model"
        unknown = await caller.arequest("POST", CHAT, json=chat(model="gpt-4"))
        error(unknown, 404, "invalid_request_error", "not-found")


async def test_errors_of_access_have_openais_types(machine):
    anonymous = await in_database(machine, "read")
    error(await anonymous.arequest("POST", CHAT, json=chat()), 403, "permission_error", "scope-missing")
    anonymous.headers = {}
    error(await anonymous.arequest("GET", "/v1/models"), 401, "authentication_error", "token-missing")
