"""Adapt a request when a server refuses a part of it: the adaptations, their detection, and the memory of them.

Decision 21 gives the reasons and the limits. The content of an answer and other errors do not belong here.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from promptops.engine.providers.addresses import base_address
from promptops.engine.providers.finish_reasons import normalized
from promptops.engine.providers.json_modes import without_schema
from promptops.engine.providers.reported import ReportedError

logger = logging.getLogger(__name__)

MAX_LEARNED_PER_CALL = 3
"""The most repetitions of one call for refused parts. gpt-5 refuses two in turn: `max_tokens`, then `temperature`."""

MAX_WORDS = 200
"""The most characters of a refusal that are stored to explain a learned adaptation."""

Payload = dict[str, Any]


@dataclass(frozen=True)
class Adaptation:
    """One change of a request.

    `label` names it for people. `part` is the part that a server refuses: a field of the request or the role "system".
    `apply` changes a payload in place. `aliases` is a pattern of other names for the part, in lower case.
    """

    label: str
    part: str
    apply: Callable[[Payload], None]
    aliases: str = ""

    def concerns(self, payload: Payload) -> bool:
        """Return whether the payload has the part."""
        if self.part == _SYSTEM:
            return any(message.get("role") == "system" for message in payload["messages"])
        return self.part in payload


_SYSTEM = "system"


def _without(field: str) -> Callable[[Payload], None]:
    def drop(payload: Payload) -> None:
        payload.pop(field, None)

    return drop


def _renamed(field: str, to: str) -> Callable[[Payload], None]:
    def rename(payload: Payload) -> None:
        if field in payload:
            payload[to] = payload.pop(field)

    return rename


def _whole(payload: Payload) -> None:
    payload.pop("stream", None)
    payload.pop("stream_options", None)


def _unlimited(payload: Payload) -> None:
    payload.pop("max_tokens", None)
    payload.pop("max_completion_tokens", None)


def _system_in_user(payload: Payload) -> None:
    """Move the system prompt to the beginning of the first user message."""
    system = "\n\n".join(message["content"] for message in payload["messages"] if message["role"] == "system")
    others = [message for message in payload["messages"] if message["role"] != "system"]
    if not system:
        return
    at = next((n for n, message in enumerate(others) if message["role"] == "user"), None)
    if at is None:
        others.insert(0, {"role": "user", "content": system})
    else:
        others[at] = {"role": "user", "content": f"{system}\n\n{others[at]['content']}"}
    payload["messages"] = others


_JSON_ALIASES = r"json[_ ](?:object|mode|schema)|response format|structured outputs?|grammar"
_DROPPED = {
    "temperature": ("Temperature left out", ""),
    "top_p": ("top_p left out", ""),
    "frequency_penalty": ("Frequency penalty left out", ""),
    "presence_penalty": ("Presence penalty left out", ""),
    "seed": ("Seed left out", ""),
    "stop": ("Stop sequences left out", "stop sequences?"),
    "stream_options": ("Token counts of streams left out", ""),
    "response_format": ("JSON mode left out", _JSON_ALIASES),
    "reasoning_effort": ("Reasoning effort left out", r"reasoning[ .]?effort|thinking(?: level)?|think value"),
}

ADAPTATIONS: Mapping[str, Adaptation] = MappingProxyType(
    {
        "max_completion_tokens": Adaptation(
            "Token limit sent as max_completion_tokens", "max_tokens", _renamed("max_tokens", "max_completion_tokens")
        ),
        "max_tokens": Adaptation(
            "Token limit sent as max_tokens", "max_completion_tokens", _renamed("max_completion_tokens", "max_tokens")
        ),
        "no_token_limit": Adaptation("Token limit left out", "max_tokens", _unlimited, "max_completion_tokens"),
        "json_object": Adaptation("JSON mode without a schema", "response_format", without_schema, _JSON_ALIASES),
        **{f"no_{part}": Adaptation(text, part, _without(part), more) for part, (text, more) in _DROPPED.items()},
        "no_stream": Adaptation("Whole answers instead of streams", "stream", _whole, "streaming"),
        "system_in_user": Adaptation("System prompt moved into the user message", _SYSTEM, _system_in_user),
    }
)
"""All adaptations, by name, in the order in which they are applied."""

_UNSUPPORTED_CODES = frozenset(
    {
        "extra_forbidden",
        "unknown_parameter",
        "unrecognized_parameter",
        "unsupported_field",
        "unsupported_parameter",
        "unsupported_params",
        "unsupported_value",
    }
)
# The words of OpenAI, Azure, Groq, Cerebras, Mistral, Google, Anthropic, Moonshot, xAI, vLLM, SGLang, llama.cpp,
# Ollama, LM Studio, LiteLLM and pydantic for an unsupported parameter. A value out of range matches none of them.
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:currently |yet )?support(?:ed|s)?\b|n't support(?:ed)?\b"
    r"|not (?:permitted|allowed|available|accepted)"
    r"|un(?:recognized|known|expected) (?:request )?(?:argument|parameter|field|name|key|property|keyword)"
    r"|unexpected keyword argument|not recognized|cannot find field|additional propert|extra (?:inputs|fields)"
    r"|extra_forbidden|does not accept|no longer (?:supported|accepted)|is deprecated|is incompatible|cannot be used"
    r"|only the default|may only be set to 1\b"
    r"|only 1(?:\.0)? is allowed|must be verified to stream|must be 'json_schema'"
    r"|invalid (?:json )?schema|schema conversion failed|failed to (?:parse|initialize|compile) (?:the )?grammar"
    r"|unavailable now|response_format\.type'? ?: value is not one of the allowed"
    r"|不支持|未知参数|无法识别|不被支持"
)
_SYSTEM_REFUSED = re.compile(
    r"system[ '\"`]*(?:role|messages?|prompts?|instructions?)\b[^.\n]{0,30}"
    r"(?:not |n't |un)(?:be )?(?:support|allow|permit|enabl)"
    r"|(?:not |n't |un)support(?:ed|s)?\b[^.\n]{0,20}['\"` ]system['\"` .]*"
    r"(?:$|\n|role|message|prompt|instruction|with)"
    r"|role[ '\"`:]*system['\"`]?[^.\n]{0,20}(?:not support|not allow|unsupported|invalid)"
    r"|(?:unsupported|unexpected|unknown|invalid) role[ :]*['\"`]?system"
    r"|only user(?: and|,) assistant\b[^.\n]{0,20}\broles|roles must alternate|developer instruction is not enabled"
    r"|['\"`]system['\"`] is not one of|(?:input|role) should be 'user' or 'assistant'"
    r"|不支持\s?['\"`]?system"
)
# The end of one statement of a refusal; it does not match inside `messages[0].role` or `response_format.type`.
_STATEMENT = re.compile(r"[.;](?=\s)|\n")
_REFUSING = frozenset({400, 422})


def refused_part(error: ReportedError, status: int, payload: Payload, active: Collection[str]) -> str | None:
    """Return the adaptation that an error with an HTTP status needs, or `None` if it refuses no part of `payload`.

    `active` are the adaptations that are applied already.
    """
    parts = dict(_candidates(payload, active))
    if "system_in_user" in parts and _refuses_system(error, status):
        return "system_in_user"
    if status not in _REFUSING:
        return None
    for node in error.objects:  # pydantic's list of unexpected fields
        if _UNSUPPORTED.search(f"{node.get('type')} {node.get('msg')}".lower()):
            loc = node.get("loc")
            named = loc if isinstance(loc, list) else []
            if name := next((name for name, one in parts.items() if one.part in named), None):
                return name
    has_code = not _UNSUPPORTED_CODES.isdisjoint(error.codes)
    if has_code or _UNSUPPORTED.search(error.words):
        param = normalized(error.param)
        if name := next((name for name, one in parts.items() if one.part == param), None):
            return name
    statements = [error.words] if has_code else _STATEMENT.split(error.words)
    refusing = "\n".join(one for one in statements if has_code or _UNSUPPORTED.search(one))
    return min(_mentions(parts, refusing), default=(0, None))[1]


def _candidates(payload: Payload, active: Collection[str]) -> Iterator[tuple[str, Adaptation]]:
    """Yield the possible adaptations.

    A token limit that was renamed already can only be left out. A schema is given up before JSON mode.
    """
    renamed = not {"max_tokens", "max_completion_tokens"}.isdisjoint(active)
    for name, one in ADAPTATIONS.items():
        if name in active:
            continue
        if one.part == "response_format":
            is_schema = payload.get("response_format", {}).get("type") == "json_schema"
            if one.concerns(payload) and is_schema == (name == "json_object"):
                yield name, one
        elif name == "no_token_limit":
            if renamed and ("max_tokens" in payload or "max_completion_tokens" in payload):
                part = "max_tokens" if "max_tokens" in payload else "max_completion_tokens"
                yield name, Adaptation(one.label, part, one.apply)
        elif one.concerns(payload) and not (renamed and name in ("max_tokens", "max_completion_tokens")):
            yield name, one


def _mentions(parts: Mapping[str, Adaptation], words: str) -> Iterator[tuple[int, str]]:
    """Yield the first position in `words` that names each part, with its adaptation."""
    for name, one in parts.items():
        if one.part != _SYSTEM:
            named = rf"(?<![\w.]){re.escape(one.part)}(?![\w])" + (f"|{one.aliases}" if one.aliases else "")
            if match := re.search(named, words):
                yield match.start(), name


def _refuses_system(error: ReportedError, status: int) -> bool:
    # llama.cpp answers with 500 when the template of a model raises.
    if status not in _REFUSING and not (status == 500 and "jinja" in error.words):
        return False
    if _SYSTEM_REFUSED.search(error.words):
        return True
    is_role = error.param.startswith("messages") and error.param.endswith("role")
    return is_role and "system" in error.words and _UNSUPPORTED.search(error.words) is not None


class AdaptationMemory:
    """The adaptations learned for each server and model, with the words of the refusal.

    Safe to use from any thread. `on_learned(base_url, model, name, words)` is called after each new adaptation, in the
    thread that learned it. That is often the thread of an event loop, so the callback must return at once. Its
    exceptions are logged.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._learned: dict[tuple[str, str], dict[str, str]] = {}
        self.on_learned: Callable[[str, str, str, str], None] | None = None

    def get(self, base_url: str, model: str) -> Mapping[str, str]:
        """Return the learned adaptations: the words of the refusal by the adaptation's name."""
        if not self._learned:  # the usual case
            return {}
        with self._lock:
            return dict(self._learned.get(_address(base_url, model), {}))

    def learn(self, base_url: str, model: str, name: str, words: str) -> bool:
        """Remember an adaptation, and return whether it is new. Raises `KeyError` for an unknown name."""
        _ = ADAPTATIONS[name]
        with self._lock:
            learned = self._learned.setdefault(_address(base_url, model), {})
            if name in learned:
                return False
            learned[name] = words[:MAX_WORDS]
        if self.on_learned is not None:
            try:
                self.on_learned(base_url, model, name, words[:MAX_WORDS])
            except Exception:
                logger.exception("A learned adaptation could not be stored")
        return True

    def forget(self, base_url: str, model: str) -> None:
        """Forget the adaptations of a server and model."""
        with self._lock, suppress(KeyError):
            del self._learned[_address(base_url, model)]

    def restore(self, base_url: str, model: str, mapping: Mapping[str, str]) -> None:
        """Replace the adaptations of a server and model by stored ones. Names of other releases are ignored."""
        known = {name: words for name, words in mapping.items() if name in ADAPTATIONS}
        with self._lock:
            self._learned[_address(base_url, model)] = known

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._learned.clear()


def _address(base_url: str, model: str) -> tuple[str, str]:
    return base_address(base_url).rstrip("/"), model


learned = AdaptationMemory()
"""The learned adaptations of this process."""


class Negotiation:
    """The adaptations of one call: the operator's choice, those learned before, and those that this call tries.

    An adaptation is learned once it helped, that is, when an answer or the refusal of another part follows it.
    """

    def __init__(self, base_url: str, model: str, own: Collection[str]) -> None:
        self._base_url = base_url
        self._model = model
        self._active = {*own, *learned.get(base_url, model)}
        self._tried: dict[str, str] = {}
        self._unconfirmed: str | None = None
        self._refusal: tuple[dict[str, Any], ...] | None = None

    def adapt(self, payload: Payload) -> Payload:
        """Apply the adaptations to a payload, in place, and return it."""
        if self._active:
            for name, one in ADAPTATIONS.items():
                if name in self._active:
                    one.apply(payload)
        return payload

    def takes(self, error: ReportedError, status: int, payload: Payload, words: str) -> bool:
        """Return whether to repeat the call after `error`. If so, the next payload is adapted."""
        if len(self._tried) >= MAX_LEARNED_PER_CALL or error.objects == self._refusal:
            return False
        name = refused_part(error, status, payload, self._active)
        if name is None:
            return False
        if self._unconfirmed is not None:
            self.confirm()
        self._active.add(name)
        self._tried[name] = words
        self._unconfirmed = name
        self._refusal = error.objects
        return True

    def confirm(self) -> None:
        """Learn the adaptation that was tried last, because it helped."""
        if self._unconfirmed is not None:
            name, self._unconfirmed = self._unconfirmed, None
            learned.learn(self._base_url, self._model, name, self._tried[name])
