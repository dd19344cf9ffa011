"""Short names that tell the arms of one comparison apart."""

from dataclasses import dataclass

from promptops.compare.models import Arm, Comparison
from promptops.prompts.content import PARAMETERS, SETTINGS


@dataclass(frozen=True)
class NamedArm:
    """An arm and the shortest name that tells it from the others, such as "B (v14)"."""

    arm: Arm
    name: str


def named_arms(comparison: Comparison) -> list[NamedArm]:
    """Return the arms by position, each named by its letter and by what differs between them, in one query."""
    arms = list(comparison.arms.select_related("template", "version"))
    texts = [f"v{arm.version.number}" if arm.version else "draft" for arm in arms]
    if len({arm.template_id for arm in arms}) > 1:
        texts = [f"{arm.template.name} {text}" for arm, text in zip(arms, texts, strict=True)]
    properties = (
        texts,
        [arm.provider_name for arm in arms],
        *([SETTINGS[name].in_words(getattr(arm, name)) for arm in arms] for name in PARAMETERS),
    )
    differences: list[list[str]] = [[] for _ in arms]
    for values in properties:
        if len(set(values)) > 1:
            for parts, value in zip(differences, values, strict=True):
                parts.append(value)
    return [
        NamedArm(arm, f"{arm.letter} ({', '.join(parts)})" if parts else arm.letter)
        for arm, parts in zip(arms, differences, strict=True)
    ]
