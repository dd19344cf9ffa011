"""Reads about providers' settings: the source of a key, and learned adaptations.

State and figures come from runs; they belong to `runs.queries.providers`.
"""

import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.providers.key_variables import key_variable, problem_of
from promptops.providers.models import LearnedAdaptation, Provider


@dataclass(frozen=True)
class Learned:
    """A learned adaptation in words: `label` says how requests change, `words` is the refusal that taught it."""

    name: str
    label: str
    words: str
    models: str
    at: datetime


def learned(provider: Provider) -> list[Learned]:
    """Return the provider's learned adaptations, oldest first, each with its models."""
    by_name: dict[str, list[LearnedAdaptation]] = defaultdict(list)
    for row in provider.learned.all():
        by_name[row.name].append(row)
    return [
        Learned(
            name,
            ADAPTATIONS[name].label if name in ADAPTATIONS else name.replace("_", " "),
            rows[0].words,
            ", ".join(row.model for row in rows),
            rows[0].at,
        )
        for name, rows in by_name.items()
    ]


def key_sentence(provider: Provider) -> str:
    """Return where the key comes from, and whether its variable is set. The words hold no secret."""
    if provider.key_encrypted:
        return "stored key"
    variable = key_variable(provider)
    if not variable:
        return "no key"
    return f"from {variable}, {'not sent' if problem_of(provider) else set_or_not(variable)}"


def set_or_not(variable: str) -> str:
    """Return in words whether the environment has the variable. Ask only about one that may hold a key."""
    return "set in the server's environment" if is_set(variable) else "not set in the server's environment"


def is_set(variable: str) -> bool:
    """Return whether the server's environment has a value for the variable."""
    return bool(os.environ.get(variable, "").strip())
