"""A year of releases: versions that go live and are rolled back, and edited providers, variables, settings and filters.

Every release stores the configuration as `ledger.parts` reads it from the database; it is carried on from release to
release here, and `filling` compares the last one with the database.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

OTHERS = ("provider.edited", "variable.changed", "settings.changed", "safety.changed")
ROLLBACKS, OTHER_RELEASES = 0.04, 0.02
"""Shares of the published versions."""

TEXT = """
camera light slow pan close wide fox snow rain city night dawn river glass smoke lens grain color warm cold motion
still hand face crowd street forest desert ocean mirror shadow neon dust wind the a of and with from into over
"""
WORDS = TEXT.split()


@dataclass
class Published:
    """The rows of `history`: audit entries and versions, oldest first, and what was live when, by template."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    versions: list[Any] = field(default_factory=list)
    live: dict[int, list[tuple[datetime, int]]] = field(default_factory=dict)
    revised: list[datetime] = field(default_factory=list)
    configuration: dict[str, Any] = field(default_factory=dict)


COLUMNS = (
    "revision",
    "action",
    "at",
    "user_id",
    "user_name",
    "note",
    "template_id",
    "version_id",
    "replaced_id",
    "packed_configuration",
    "changes_since",
)


def history(
    published: Published, templates: list[Any], each: int, people: list[Any], began: datetime, ended: datetime
) -> Iterator[tuple[Any, ...]]:
    """Publish `each` versions of every template, with other releases in between, evenly spread over the time.

    Yields the rows of the releases, in COLUMNS. The configuration is one object, which the next release changes.
    """
    from promptops.ledger.configurations import WHOLE_EVERY, pack, pack_changes

    dice = random.Random(11)
    whole, changes_since = b"", 0
    order = [template for template in templates for _ in range(each)]
    dice.shuffle(order)
    live: dict[int, Any] = {}
    numbers: dict[int, list[Any]] = {template.pk: [] for template in templates}
    steps = list(_steps(order, dice))
    for revision, (action, template) in enumerate(steps, start=1):
        at = began + (ended - began) * revision / (len(steps) + 1)
        person = dice.choice(people)
        note = f"Edition {revision}: {' '.join(dice.choices(WORDS, k=5))}"
        template_id = version_id = replaced_id = None
        if template is None:
            entry = _other_change(action, revision, published.configuration, dice)
        else:
            old = live.get(template.pk)
            if action == "template.rolled_back" and len(numbers[template.pk]) > 1:
                new = dice.choice([version for version in numbers[template.pk] if version is not old])
            else:
                action = "template.published"
                new = _version(template, numbers[template.pk], len(published.versions) + 1, person, at, note, dice)
                published.versions.append(new)
            live[template.pk] = new
            published.live.setdefault(template.pk, []).append((at, new.pk))
            _point(published.configuration, template, new)
            entry = {"object_type": "template", "object_id": str(template.pk), "object_name": template.name}
            entry |= {"before": _values(old), "after": _values(new)}
            template_id, version_id, replaced_id = template.pk, new.pk, old.pk if old else None
        published.entries.append(
            {"at": at, "action": action, "actor": person, "note": note, "revision": revision} | entry
        )
        published.revised.append(at)
        row = (revision, action, at, person.pk, person.name, note, template_id, version_id, replaced_id)
        if revision % WHOLE_EVERY == 1:
            whole, changes_since = pack(published.configuration), revision
            yield (*row, whole, None)
        else:
            yield (*row, pack_changes(published.configuration, whole), changes_since)


def _steps(order: list[Any], dice: random.Random) -> Iterator[tuple[str, Any]]:
    for template in order:
        yield "template.published", template
        if dice.random() < ROLLBACKS:
            yield "template.rolled_back", template
        if dice.random() < OTHER_RELEASES:
            yield dice.choice(OTHERS), None


def _version(
    template: Any, earlier: list[Any], pk: int, person: Any, at: datetime, note: str, dice: random.Random
) -> Any:
    """Return the next version: a text of about 1,500 characters, of which each version changes twelve words."""
    from promptops.prompts.models import Version
    from promptops.prompts.models.templates import content_sha256

    words = earlier[-1].body.split(" ") if earlier else [template.name, "{{ style }}", *dice.choices(WORDS, k=280)]
    for _ in range(12):
        words[dice.randrange(2, len(words))] = dice.choice(WORDS)
    number = len(earlier) + 1
    version = Version(
        pk=pk,
        template_id=template.pk,
        number=number,
        body=" ".join(words),
        temperature=dice.choice((None, 0.3, 0.7, 1.1)),
        note=note,
        author_id=person.pk,
        author_name=person.name,
        created_at=at,
    )
    version.sha256 = content_sha256(version.content)
    earlier.append(version)
    return version


def _values(version: Any) -> dict[str, Any] | None:
    return {"version": version.number, **version.content, "sha256": version.sha256} if version else None


def _point(configuration: dict[str, Any], template: Any, version: Any) -> None:
    rows = [row for row in configuration["templates"] if row["name"] != template.name]
    rows.append(
        {
            "name": template.name,
            "operation": template.operation,
            "default": template.is_default,
            "version": version.number,
            "version_id": version.pk,
        }
    )
    configuration["templates"] = sorted(rows, key=lambda row: (row["operation"], not row["default"], row["name"]))


def _other_change(action: str, revision: int, configuration: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Change the configuration, and return what the audit says of it."""
    noun = action.partition(".")[0]
    named = {"object_type": noun, "object_id": "1", "object_name": ""}
    if noun == "settings":
        named, row, key, new = {}, configuration["settings"], "max_tokens", 200 + revision % 50
    elif noun == "safety":
        named, new = {}, round(0.6 + revision % 300 / 1000, 3)
        configuration["safety"]["stored"]["thresholds"]["violence"] = new
        row, key = configuration["safety"], "violence_from"
    else:
        row = dice.choice(configuration[f"{noun}s"])
        key, new = ("timeout_ms", 5000 + revision) if noun == "provider" else ("value", f"value {revision}")
        named["object_name"] = row["name"]
    old, row[key] = row[key], new
    return {**named, "before": {key: old}, "after": {key: new}}


def applied(configuration: dict[str, Any]) -> None:
    """Give providers, variables, settings and the filter in the database the values of the newest release."""
    from promptops.ledger.models import LiveConfiguration
    from promptops.prompts.models import Variable
    from promptops.providers.models import Provider
    from promptops.safety.models import SafetySettings

    for row in configuration["providers"]:
        Provider.objects.filter(name=row["name"]).update(timeout_ms=row["timeout_ms"])
    for row in configuration["variables"]:
        Variable.objects.filter(operation=row["operation"], name=row["name"]).update(value=row["value"])
    LiveConfiguration.objects.update(max_tokens=configuration["settings"]["max_tokens"])
    SafetySettings.objects.update(thresholds=configuration["safety"]["stored"]["thresholds"])


def span(days: int, now: datetime) -> tuple[datetime, datetime]:
    """Return the first and the last moment of a number of days that end now."""
    return now - timedelta(days=days), now - timedelta(seconds=5)
