"""The smaller tables: people, providers, variables, terms, templates, drafts, prompt sets, comparisons with votes."""

import random
from datetime import datetime, timedelta
from typing import Any

from benchmarks.big.releases import WORDS

READER = "bench"
PROVIDERS = ("cerebras", "groq", "vllm-a", "vllm-b", "openrouter", "sglang")
SHARES = {"enhance": 60, "auto_extend": 25, "rewrite": 15}


def people() -> list[Any]:
    """Make forty people of all roles, one of them the administrator who reads the pages."""
    from promptops.people.models import User

    roles = ("viewer", "editor", "editor", "releaser")
    made = [User(username=f"person-{number}", name=f"Person {number}", role=roles[number % 4]) for number in range(39)]
    User.objects.bulk_create([*made, User(username=READER, name="Bench Reader", role="administrator")])
    return list(User.objects.order_by("pk"))


def providers() -> list[Any]:
    """Make the chain."""
    from promptops.providers.models import Provider

    for place, name in enumerate(PROVIDERS, start=1):
        Provider.objects.create(
            name=name,
            kind="openai",
            base_url=f"http://127.0.0.1:1/{name}/v1",
            model="llama-3.3-70b",
            position=place,
            price_input=0.6,
            price_output=1.2,
        )
    return list(Provider.objects.order_by("position"))


def variables_and_terms() -> None:
    """Make variables of each operation, and three hundred terms of the safety filter."""
    from promptops.prompts.models import Variable
    from promptops.safety.models import SafetyTerm

    for operation in SHARES:
        for name in ("style", "tempo", "locale", "audience", "ending"):
            Variable.objects.create(operation=operation, name=name, value="calm and bright")
    SafetyTerm.objects.bulk_create(
        SafetyTerm(
            kind="deny" if number % 3 else "allow", text=f"term {number}", category="other" if number % 3 else ""
        )
        for number in range(300)
    )


def templates(count: int, now: datetime) -> list[Any]:
    """Make templates of all operations; the first of each is its default."""
    from promptops.prompts.models import Template

    dice = random.Random(29)
    operations = [*SHARES, *dice.choices(list(SHARES), list(SHARES.values()), k=count)][:count]
    Template.objects.bulk_create(
        Template(
            name=operation if number < len(SHARES) else f"{operation.replace('_', '-')}-{number}",
            operation=operation,
            is_default=number < len(SHARES),
            description="For night scenes",
            created_at=now - timedelta(days=370),
        )
        for number, operation in enumerate(operations)
    )
    return list(Template.objects.order_by("pk"))


def point(templates: list[Any], live: dict[int, list[tuple[datetime, int]]]) -> None:
    """Make the newest version of each template live."""
    from promptops.prompts.models import Template

    for template in templates:
        template.live_version_id = live[template.pk][-1][1]
    Template.objects.bulk_update(templates, ["live_version"], batch_size=200)


def drafts(people: list[Any], templates: list[Any], versions: list[Any]) -> None:
    """Make drafts of a third of the templates, and discarded ones of the reader."""
    from promptops.prompts.models import DiscardedDraft, Draft

    reader, newest = people[-1], {version.template_id: version for version in versions}
    for template in templates[::3]:
        body = f"{newest[template.pk].body} and slower"
        for person in (reader, people[template.pk % 30]):
            Draft.objects.create(template=template, user=person, body=body, base=newest[template.pk])
    for number in range(10):
        DiscardedDraft.objects.create(template=templates[0], user=reader, body=f"{number} {body}", base=versions[0])


def prompt_sets(count: int, inputs: int) -> list[Any]:
    """Make prompt sets, the last one archived."""
    from django.utils import timezone

    from promptops.compare.models import PromptSet
    from promptops.compare.models.prompt_sets import inputs_sha256

    dice = random.Random(31)
    made = []
    for number in range(count):
        texts = [f"{place} {' '.join(dice.choices(WORDS, k=18))}" for place in range(inputs)]
        fields = {"inputs": texts, "input_count": inputs, "inputs_sha256": inputs_sha256(texts)}
        made.append(PromptSet(name=f"Scenes {number}", created_by_name="Bench Reader", **fields))
    made[-1].archived_at = timezone.now()
    return PromptSet.objects.bulk_create(made)


def comparisons(count: int, inputs: int, made: list[Any], providers: list[Any], reader: Any) -> None:
    """Make comparisons of three versions on runs that are in the database, the newest one four times as large."""
    from promptops.compare.models import Comparison

    for number in range(count):
        is_last = number == count - 1
        comparison = Comparison.objects.create(
            name=f"Old or new {number}",
            operation="enhance",
            inputs_from="Scenes 0",
            state="done",
            revision=1,
            timeout_ms=20_000,
            user=reader,
            user_name=reader.name,
        )
        _answers(comparison, inputs * 4 if is_last else inputs, made, providers, reader)


def _trial_values(run: Any, dice: random.Random) -> dict[str, Any]:
    measures = {"words": 60, "characters": 300, "subject_kept": dice.random(), "repetition": 0.1}
    return {"state": "succeeded", "finished_at": run.at, "answer_hash": run.answer_hash, **measures}


def _answers(comparison: Any, inputs: int, versions: list[Any], providers: list[Any], reader: Any) -> None:
    """Give the comparison arms, inputs, trials with runs of its own, and votes on half of the pairs."""
    from django.utils import timezone

    from promptops.compare.models import Arm, ComparisonInput, Trial, Vote
    from promptops.runs.models import Run

    dice = random.Random(comparison.pk)
    arms = [
        Arm.objects.create(
            comparison=comparison,
            position=place,
            template_id=version.template_id,
            version=version,
            body=version.body,
            temperature=0.7,
            max_tokens=256,
            provider=providers[place],
            provider_name=providers[place].name,
            provider_kind="openai",
        )
        for place, version in enumerate(versions[:3])
    ]
    texts = ComparisonInput.objects.bulk_create(
        ComparisonInput(comparison=comparison, position=place, text=" ".join(dice.choices(WORDS, k=20)))
        for place in range(inputs)
    )
    given = {"source": "comparison", "operation": "enhance", "temperature": 0.7, "max_tokens": 256, "revision": 1}
    given |= {"status": "succeeded", "latency_ms": 400.0, "provider": providers[0].name, "at": timezone.now()}
    pairs = [(text, arm) for text in texts for arm in arms]
    runs = Run.objects.bulk_create(
        [Run(output=" ".join(dice.choices(WORDS, k=60)), input=text.text, **given) for text, _ in pairs], batch_size=500
    )
    Trial.objects.bulk_create(
        [
            Trial(comparison=comparison, arm=arm, input=text, run=run, **_trial_values(run, dice))
            for (text, arm), run in zip(pairs, runs, strict=True)
        ],
        batch_size=500,
    )
    Vote.objects.bulk_create(
        Vote(
            comparison=comparison,
            input=text,
            first=arms[0],
            second=arms[1],
            user=reader,
            user_name=reader.name,
            choice=dice.choice(("first", "second", "tie")),
            first_on_left=dice.random() < 0.5,
        )
        for text in texts[::2]
    )
