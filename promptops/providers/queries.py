"""How providers are set: where a key comes from, and what runs have learned of them."""

import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.providers.key_variables import key_variable, problem_of
from promptops.providers.models import LearnedAdaptation, Provider


@dataclass(frozen=True)
class Learned:
    """What a provider was found to refuse, in words: `label` is what is done about it, `words` are the provider's."""

    name: str
    label: str
    words: str
    models: str
    at: datetime


def learned(provider: Provider) -> list[Learned]:
    """Return what runs have learned of the provider, by adaptation, oldest first."""
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
    """Where the key comes from, and whether it is there, in words that hold no secret."""
    if provider.key_encrypted:
        return "stored key"
    variable = key_variable(provider)
    if not variable:
        return "no key"
    return f"from {variable}, {'not sent' if problem_of(provider) else set_or_not(variable)}"


def set_or_not(variable: str) -> str:
    """Say whether the server's environment has a value for the variable, which must be one that may hold a key."""
    return "set in the server's environment" if is_set(variable) else "not set in the server's environment"


def is_set(variable: str) -> bool:
    return bool(os.environ.get(variable, "").strip())
