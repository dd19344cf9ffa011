"""The field `response_format` that a provider gets beside a JSON contract, and its simpler forms."""

from __future__ import annotations

from typing import Any

from promptops.engine.contracts import JsonContract
from promptops.engine.types import JsonMode, LLMRequest

NAME = "answer"
"""The name of the schema, which some vendors require."""


def response_format(request: LLMRequest, mode: JsonMode) -> dict[str, Any] | None:
    """Return the `response_format` of a request, or `None` to send none.

    The mode "object" is not asked for where it would do harm: for a list, and if no message has the word JSON, because
    OpenAI and Groq refuse such a request.
    """
    if request.json_mode:
        return {"type": "json_object"}
    contract = request.contract
    if contract is None or mode == "none" or not isinstance(contract, JsonContract):
        return None
    if mode == "schema":
        schema = {"name": NAME, "strict": contract.is_strict, "schema": contract.schema}
        return {"type": "json_schema", "json_schema": schema}
    texts = [message.content for message in request.messages]
    return {"type": "json_object"} if contract.opening != "[" and _name_json(texts) else None


def without_schema(payload: dict[str, Any]) -> None:
    """Ask for any JSON object instead of JSON of a schema, in place. A list is no longer asked for."""
    wanted = payload.get("response_format", {})
    if wanted.get("type") != "json_schema":
        return
    is_list = wanted["json_schema"]["schema"].get("type") == "array"
    if is_list or not _name_json([str(message["content"]) for message in payload["messages"]]):
        del payload["response_format"]
    else:
        payload["response_format"] = {"type": "json_object"}


def _name_json(texts: list[str]) -> bool:
    return any("json" in text.lower() for text in texts)
