"""The answer and the fields of an operation in words, for audit entries, review panels and lists."""

from typing import Any


def answer_in_words(answer: dict[str, Any]) -> str:
    """Return the answer's kind, such as "lines, 3"."""
    return ", ".join(str(value) for value in answer.values())


def fields_in_words(fields: list[dict[str, Any]]) -> str:
    """Return the fields of an input in one line, such as "scene (at most 200 characters): A place; mood (optional)"."""
    lines = []
    for each in fields:
        facts = [] if each["required"] else ["optional"]
        facts += [f"at most {each['max_characters']:,} characters"] if each["max_characters"] else []
        line = f"{each['name']} ({', '.join(facts)})" if facts else each["name"]
        lines.append(f"{line}: {each['description']}" if each["description"] else line)
    return "; ".join(lines)
