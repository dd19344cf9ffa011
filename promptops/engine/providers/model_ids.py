"""Read the ids of models from a server's list. Asking for the list belongs to openai_compatible.py."""

from __future__ import annotations

from typing import Any

from promptops.engine.providers.reading import parsed

MODELS_SECONDS = 10
"""The longest wait for a list: a person waits for it."""

MAX_MODELS = 2_000
"""The most models that are read. The longest real lists have a few hundred."""

MAX_ID_CHARACTERS = 200


def model_ids(body: bytes) -> list[str] | None:
    """Return the ids of the models in a body, sorted and each once, or `None` if the body is no list of models.

    The list is in `data` (OpenAI and most others), in `models`, or the whole body (Together). A model is an object with
    an `id` or a `name`, or the id itself. An id that no provider could have is left out.
    """
    rows = _rows(parsed(body))
    if rows is None:
        return None
    ids = (_id(row) for row in rows[:MAX_MODELS])
    return sorted({text for text in ids if text}, key=str.lower)


def _rows(document: Any) -> list[Any] | None:
    if isinstance(document, dict):
        document = next((document[name] for name in ("data", "models") if isinstance(document.get(name), list)), None)
    return document if isinstance(document, list) else None


def _id(row: Any) -> str:
    value = row.get("id") or row.get("name") if isinstance(row, dict) else row
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_ID_CHARACTERS:
        return ""
    return value.strip()
