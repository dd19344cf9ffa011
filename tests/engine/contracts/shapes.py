"""Contracts of the size and shape that real servers use."""

from __future__ import annotations

from typing import Any

from promptops.engine import JsonContract

SEGMENTS: dict[str, Any] = {
    "type": "object",
    "required": ["title", "segment_prompts"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "minLength": 1, "maxLength": 60},
        "segment_prompts": {
            "type": "array",
            "minItems": 3,
            "maxItems": 3,
            "items": {"type": "string", "minLength": 5},
        },
    },
}
"""A rollout: a title, and one prompt for each of three segments."""

GOOD_SEGMENTS = '{"title": "Fox", "segment_prompts": ["A fox runs.", "A fox stops.", "A fox sleeps."]}'

PROMPTS: dict[str, Any] = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}}

EDIT: dict[str, Any] = {
    "type": "object",
    "required": ["edits"],
    "properties": {
        "edits": {"type": "array", "items": {"$ref": "#/$defs/edit"}},
        "style": {"enum": ["noir", "anime", None]},
        "seconds": {"type": "number", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 0.5},
        "frames": {"type": "integer"},
        "camera": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["move"]}]},
        "version": {"const": 2},
        "id": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$"},
        "tags": {"type": "array", "uniqueItems": True, "contains": {"const": "fox"}},
        "extra": {"type": "object", "minProperties": 1, "propertyNames": {"maxLength": 8}},
    },
    "dependentRequired": {"seconds": ["frames"]},
    "$defs": {
        "edit": {
            "type": "object",
            "required": ["segment", "prompt"],
            "additionalProperties": False,
            "properties": {"segment": {"type": "integer", "minimum": 1}, "prompt": {"type": "string"}},
        }
    },
}

SEGMENT_CONTRACT = JsonContract.of(SEGMENTS)
EDIT_CONTRACT = JsonContract.of(EDIT)
LIST_CONTRACT = JsonContract.of(PROMPTS)
