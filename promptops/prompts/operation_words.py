"""The answer and the fields of an operation in words, for audit entries, review panels and lists."""

import json
from collections.abc import Mapping
from typing import Any

from promptops.prompts.enums import AnswerKind, InputKind, OnFailure
from promptops.texts.formats import limit


def answer_in_words(answer: dict[str, Any]) -> str:
    """Return the answer's kind and its rules, such as "lines, 3" or "text, one paragraph, at most 80 words"."""
    count, words = answer.get("count"), answer.get("max_words")
    least = answer.get("at_least")
    facts = [answer["kind"], str(count or ""), f"at least {least}" if least else ""]
    facts.append("one paragraph" if answer.get("one_paragraph") else "")
    facts.append(f"at most {words:,} word{'' if words == 1 else 's'}" if words else "")
    for key, verb in (("contains", "contains"), ("excludes", "does not contain")):
        facts += [f"{verb} “{phrase}”" for phrase in answer.get(key, [])]
    return ", ".join(fact for fact in facts if fact)


def schema_in_words(answer: Mapping[str, Any]) -> str:
    """Return the JSON Schema of an answer as text of several lines; "" if it has none."""
    schemas = [answer[key] for key in ("schema", "also") if key in answer]
    return "\n".join(json.dumps(schema, ensure_ascii=False, indent=2) for schema in schemas)


def fields_in_words(fields: list[dict[str, Any]]) -> str:
    """Return the fields of an input in one line, such as "scene (at most 200 characters): A place; mood (optional)"."""
    lines = []
    for each in fields:
        facts = [] if each["required"] else ["optional"]
        facts += [f"at most {each['max_characters']:,} characters"] if each["max_characters"] else []
        line = f"{each['name']} ({', '.join(facts)})" if facts else each["name"]
        lines.append(f"{line}: {each['description']}" if each["description"] else line)
    return "; ".join(lines)


def limits_in_words(values: Mapping[str, Any]) -> list[str]:
    """Return the limits that an operation has of its own, such as "at most 8 s". `values` are its columns."""
    words = {
        "at most {:,} tokens": values["max_tokens"],
        "texts kept for {:,} days": values["retention_days"],
    }
    limits = [f"at most {limit(values['timeout_ms'])}"] if values["timeout_ms"] is not None else []
    limits += [text.format(value) for text, value in words.items() if value is not None]
    return [*limits, *([f"hedged {hedge_in_words(values['hedge'])}"] if values["hedge"] else [])]


def hedge_in_words(hedge: str) -> str:
    """Return when the next provider is called too: "at p95", "after 0.8 s", "off"."""
    if hedge.isdecimal():
        return f"after {limit(int(hedge))}"
    return "at p95" if hedge else "off"


def summary(values: Mapping[str, Any]) -> str:
    """Return an operation in one line, such as "One text → JSON; at most 8 s". `values` are its columns."""
    input, answer = InputKind(values["input"]).label, AnswerKind(values["answer"]["kind"]).label
    shape = f"{input} ({', '.join(field['name'] for field in values['fields'])})" if values["fields"] else input
    _, _, rules = answer_in_words(values["answer"]).partition(", ")
    facts = [f"{shape} → {answer}" + (f" ({rules})" if rules else ""), *limits_in_words(values)]
    if values["on_failure"] != OnFailure.ERROR:
        facts.append(f"when nobody answers: {OnFailure(values['on_failure']).label}")
    if values.get("keeps_system"):
        facts.append("keeps a caller's system text")
    return "; ".join(facts)
