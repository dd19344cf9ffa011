"""A full house: everything that a page can be asked to show, in amounts that a busy team would have."""

from django.conf import settings

from promptops.compare.actions import comparisons, prompt_sets
from promptops.compare.actions.comparisons import ArmChoice
from promptops.compare.models import Comparison, Trial, Vote
from promptops.engine.types import PromptOperation
from promptops.fleet.models import Acknowledgement, Server
from promptops.ledger.audit import Actor
from promptops.live import snapshots as live
from promptops.people.actions import accounts
from promptops.people.actions.tokens import make_token, revoke_token, rotate_token
from promptops.people.enums import Scope
from promptops.people.models import User
from promptops.prompts.actions.drafts import save_draft, set_aside
from promptops.prompts.actions.releases import Content, publish, roll_back
from promptops.prompts.actions.samples import pin
from promptops.prompts.actions.templates import archive, create_template
from promptops.prompts.actions.variables import declare
from promptops.prompts.models import Template
from promptops.providers.actions.chain import ProviderFields, create_provider, set_enabled
from promptops.providers.models import LearnedAdaptation, Provider
from promptops.runs.models import Attempt, Run, SafetyCheck
from promptops.safety.models import SafetyModelVersion
from tests.fleet.servers import save_server

LONG_WORD = "unbreakable" * 27 + "end"  # 300 characters
MIXED = "שלום עולם, a fox 🦊 يركض عبر الثلج. 日本語のテキスト。"
LONG_PROMPT = "\n".join(
    f"Rule {number}: keep the subject first, then the light, the lens and the movement of the camera." * 2
    for number in range(1, 201)
)  # about 6,000 words
VERSIONS = 40
TEMPLATES = 30
VARIABLES = 30
PROVIDERS = 30
RUNS = 60
TOKENS = 30
SERVERS = 60


def fill(person: User) -> None:
    """Fill the empty database. `person` did most of it; the template `enhance` has all that is hard to lay out."""
    by = Actor.person(person, "2001:db8::7334:aaaa:bbbb:cccc")
    enhance = create_template("enhance", "enhance", by=by, description="Polishes what a viewer typed. " + MIXED)
    for number in range(1, VERSIONS + 1):
        text = f"You are a prompt enhancer, edition {number}.\n{LONG_PROMPT if number > VERSIONS - 2 else MIXED}"
        note = {1: "", 2: LONG_WORD, 3: MIXED}.get(number, f"Edition {number}: shorter sentences and a calmer camera")
        _publish(enhance, Content(text, 0.4, 200 + number), by, note)
    first = enhance.versions.get(number=VERSIONS - 1)
    roll_back(first, by=by, expected=enhance.versions.get(number=VERSIONS).pk, note="Too talkative")
    for number in range(1, VARIABLES + 1):
        value = (MIXED, LONG_WORD, "", LONG_PROMPT[:4000].strip())[number % 4]
        declare("enhance", f"mood_{number}", value, by=by, description=MIXED if number % 2 else "")
    pin("enhance", f"{LONG_WORD}\n{MIXED}", by=by)
    use = " ".join(f"{{{{ mood_{number} }}}}" for number in range(1, 5))
    _publish(create_template("moods", "enhance", by=by), Content(f"A prompt of moods: {use}"), by, "Moods")
    for text in ("", f"{MIXED} {LONG_WORD}", first.body.replace("Rule 9:", f"{LONG_WORD} {MIXED}:")):
        set_aside(enhance, Content(text, 0.5), user=person, base=first.pk)
    draft = f"{use} {{{{ moood_1 }}}} {{{{ open\n" + first.body.replace("calm", "quick").replace(
        "Rule 7:", f"Rule 7 {LONG_WORD} {MIXED}:"
    )
    save_draft(enhance, Content(draft, 0.5), user=person, base=first.pk)
    for number in range(2, TEMPLATES + 1):
        operation = ("auto_extend", "rewrite", "enhance")[number % 3]
        template = create_template(f"{operation}-{number}-{'long-name-' * 3}x", operation, by=by, description=MIXED)
        if number % 7:
            _publish(template, Content(f"Template {number}. {MIXED}"), by, LONG_WORD if number == 8 else "First text")
        if number in (12, 20):
            archive(template, by=by)
    _providers(by)
    _runs(person, enhance)
    _blocked(person)
    _prompt_sets(by)
    _comparison(by, enhance)
    _tokens(by, enhance)
    _servers()
    for role in ("viewer", "editor", "releaser", "administrator"):
        accounts.invite(role, by=by)
        User.objects.create(
            username=f"{role}.{'x' * 50}", name=f"{MIXED} {role}"[:100], role=role, is_active=role != "editor"
        )


def _publish(template: Template, content: Content, by: Actor, note: str) -> None:
    template.refresh_from_db()
    publish(template, content, by=by, expected=template.live_version_id, note=note)


def _providers(by: Actor) -> None:
    for number in range(1, PROVIDERS + 1):
        kind = ("openai", "cerebras", "groq", "local")[number % 4]
        fields = ProviderFields(
            name=f"provider-{number}" + ("-of-a-very-long-name" if number == 3 else ""),
            kind=kind,
            model="" if kind == "local" else f"vendor/some-model-of-a-long-name-{number}b-instruct",
            base_url=f"http://models-{number}.internal.example:8080/a/long/path/v1" if kind == "openai" else "",
            timeout_ms=5000 if number % 2 else None,
        )
        key = {} if kind == "local" else {"key": "sk-secret"} if number % 3 else {"key_env": "SOME_API_KEY"}
        provider = create_provider(fields, by=by, **key)
        if kind != "local":
            LearnedAdaptation.objects.create(provider=provider, model="m", name="no_temperature", words=LONG_WORD)
        if number % 5 == 0:
            set_enabled(provider, False, by=by)


def _prompt_sets(by: Actor) -> None:
    prompt_sets.import_starter_set(settings.PROMPTS_DIR, by=by)
    texts = [LONG_WORD, MIXED, "A fox trots.\nIt stops.", LONG_PROMPT[:15_000], "</pre><b>"]
    texts += [f"a fox, take {number}" for number in range(115)]
    prompt_sets.create_set(f"{LONG_WORD[:40]} {MIXED}"[:80], texts, by=by, description=f"{MIXED} {LONG_WORD}")
    for number in range(1, 55):
        kept = prompt_sets.create_set(f"Set {number}", ["a fox"], by=by, description=MIXED if number % 2 else "")
        if number % 9 == 0:
            prompt_sets.archive(kept, by=by)


def _comparison(by: Actor, enhance: Template) -> None:
    """Three arms; canceled, so that the server does not run it: some answers, one failure, the rest never ran."""
    provider = Provider.objects.filter(kind="openai", enabled=True).first()
    arms = [
        ArmChoice(enhance, version, Content(**version.content), provider)
        for version in enhance.versions.filter(number__in=[3, 4, 40])
    ]
    inputs = [LONG_WORD, MIXED, LONG_PROMPT[:3000], *(f"a fox, take {number}" for number in range(30))]
    given = {"by": by, "snapshot": live.load(), "inputs_from": "Starter set", "note": f"{MIXED} {LONG_WORD}"[:300]}
    comparison = comparisons.start(f"{MIXED} Edition 3, 4 or 40?"[:100], PromptOperation.ENHANCE, inputs, arms, **given)
    comparisons.cancel(comparison, by=by)
    for place, trial in enumerate(comparison.trials.order_by("pk")[:12]):
        failed = place == 4
        run = Run.objects.create(
            source="comparison",
            operation="enhance",
            temperature=0.7,
            max_tokens=256,
            revision=1,
            input=trial.input.text,
            output="" if failed else (LONG_WORD, MIXED, LONG_PROMPT[:800])[place % 3],
            status="failed" if failed else "succeeded",
            error=f"{provider} answered 503: {LONG_WORD}" if failed else "",
            latency_ms=1200,
            truncated=place % 5 == 2,
            cost=0.0004,
        )
        measures = {} if failed else {"characters": 900, "words": 140, "subject_kept": place / 12, "repetition": 0.02}
        Trial.objects.filter(pk=trial.pk).update(
            state=run.status, run=run, answer_hash=run.answer_hash, finished_at=run.at, **measures
        )
    _votes(comparison, by)


def _votes(comparison: Comparison, by: Actor) -> None:
    """Two voters, one of a long name; on more inputs than were answered, so that there is something to see."""
    first, second, third = comparison.arms.all()
    other = User.objects.create(username="voter", name=f"{MIXED} {LONG_WORD}"[:100], role="editor")
    for place, given in enumerate(comparison.inputs.all()):
        for voter in (by.user, other)[: 1 + place % 2]:
            for pair in ((first, second), (second, third))[: 1 + place % 2]:
                Vote.objects.create(
                    comparison=comparison,
                    input=given,
                    first=pair[0],
                    second=pair[1],
                    user=voter,
                    user_name=voter.name,
                    choice=("second", "second", "tie", "second", "first", "neither", "second")[(place + voter.pk) % 7],
                    first_on_left=place % 3 == 0,
                )


def _blocked(person: User) -> None:
    """Runs that the safety filter blocked, would have blocked, or could not judge; the newest run is one."""
    model = SafetyModelVersion.objects.get(number=1)
    scores = {"violence": 0.97, "dangerous": 0.41, "hate": 0.2, "other": 0.1, "self_harm": 0.04, "sexual": 0.0}
    verdicts = [
        {
            "decision": "unavailable",
            "layer": "model",
            "cause": "language",
            "language": "Chinese",
            "reason": "The safety filter doesn't know enough of these words to judge them (mostly Chinese)",
        },
        {"decision": "block", "layer": "deny_terms", "category": "other", "words": ["acme"], "reason": LONG_WORD},
        {"decision": "block", "layer": "model", "category": "violence", "scores": scores, "score": 1.2, "words": ["a"]},
    ]
    for number, verdict in enumerate(verdicts):
        blocked = verdict["decision"] == "block"
        run = Run.objects.create(
            source="preview",
            operation="enhance",
            user=person,
            temperature=0.7,
            max_tokens=256,
            revision=1,
            input=MIXED,
            output="" if number == 2 else LONG_WORD,
            status="blocked" if number == 2 else "succeeded",
            error="The safety filter blocked the input: violence (score 0.97, threshold 0.80)." if number == 2 else "",
            latency_ms=3,
            input_masked=blocked,
            output_masked=blocked and number != 2,
        )
        mode = "enforce" if number == 2 else "shadow"
        SafetyCheck.objects.create(run=run, side="input", model=model, mode=mode, blocked=number == 2, **verdict)
        if number != 2:
            allowed = {"decision": "allow", "layer": "model", "scores": scores, "score": 0.5}
            SafetyCheck.objects.create(run=run, side="output", model=model, mode=mode, **allowed)


def _tokens(by: Actor, enhance: Template) -> None:
    """Tokens that are usable, rotated, revoked and about to expire, and a run that one of them asked for."""
    asks = None
    for number in range(1, TOKENS + 1):
        scopes = [*Scope] if number % 4 == 0 else [Scope.FOLLOW]
        name = f"token-{number}" + ("-of-a-long-name-that-fills-it-all" if number % 7 == 0 else "")
        server = f"gpu-{'x' * 50}-{number}"[:60] if number % 5 == 0 else ""
        token, _ = make_token(name[:40], scopes, by=by, server=server, days=number if number % 3 == 0 else None)
        if number == 4:
            asks, _ = rotate_token(token, by=by)
        elif number % 6 == 0:
            revoke_token(token, by=by)
    Run.objects.create(
        source="api",
        operation="enhance",
        token=asks,
        request_id="request-" + "0123456789abcdef" * 3,
        template=enhance,
        version=enhance.versions.get(number=3),
        temperature=0.7,
        max_tokens=256,
        revision=1,
        input=MIXED,
        output=MIXED,
        status="succeeded",
        provider="provider-2",
        latency_ms=900,
    )


def _servers() -> None:
    """Servers in every state. Number 3 refuses, has all labels, and answered releases."""
    others: list[dict[str, object]] = [
        {},
        {"revision": 3, "is_filtered": False, "labels": {"zone": "a"}},
        {
            "revision": 4,
            "state": "refused",
            "refused_revision": live.load().revision,
            "refusal": f"{MIXED} {LONG_WORD}",
        },
        {"has_other_content": True, "drift": "Somebody else changed enhance.txt.", "kind": "files"},
        {"silent_for": 90_000, "is_connected": False},
        {"revision": None, "sha256": "", "since": None, "version": ""},
        {"kind": "process", "version": ""},
    ]
    for number in range(1, SERVERS + 1):
        fields = {"runs_a_minute": number * 12.5, "address": "2001:db8::7334:aaaa:bbbb:cccc"} | others[number % 7 - 1]
        save_server(f"gpu-{number}" + (f"-{LONG_WORD}"[:80] if number % 11 == 0 else ""), **fields)
    refusing = Server.objects.get(name="gpu-3")
    refusing.labels = {f"label-{number}": "some-value" * number for number in range(1, 6)}
    refusing.save()
    for number in range(1, 21):
        why = f"{MIXED} {LONG_WORD}" if number % 5 == 0 else ""
        outcome = "refused" if why else "applied"
        Acknowledgement.objects.create(
            revision=number,
            server=refusing.name,
            instance=refusing.instance,
            kind=refusing.kind,
            outcome=outcome,
            at=refusing.heard_at,
            seconds=number / 7,
            was_away=number % 3 == 0,
            why=why[:500],
        )


def _runs(person: User, enhance: Template) -> None:
    version = enhance.versions.get(number=3)
    for number in range(1, RUNS + 1):
        status = ("succeeded", "failed", "canceled")[number % 3 if number % 2 else 0]
        operation = ("enhance", "rewrite", "auto_extend")[number % 4 % 3]
        run = Run.objects.create(
            source="test" if number % 9 == 0 else "preview",
            operation=operation,
            user=person,
            template=enhance,
            version=version if number % 2 else None,
            draft_body="" if number % 2 else LONG_PROMPT,
            temperature=0.7,
            max_tokens=256,
            count=3 if operation == "rewrite" else None,
            revision=number,
            input=(MIXED, LONG_WORD, "a fox running through snow", LONG_PROMPT[:15_000])[number % 4],
            output="" if status != "succeeded" else f"1. {MIXED}\n2. {LONG_WORD}\n3. A fox in the snow.",
            raw=""
            if status != "succeeded"
            else f"<think>{MIXED}</think>\n1. {MIXED}\n2. {LONG_WORD}\n3. A fox in the snow.",
            status=status,
            error=f"provider-1 answered 503: {LONG_WORD}" if status == "failed" else "",
            provider="provider-2" if status == "succeeded" else "",
            model="vendor/some-model" if status == "succeeded" else "",
            fallback_used=status == "succeeded",
            latency_ms=1234.5,
        )
        failed = {"outcome": "failed", "error_kind": "server_error", "message": f"503: {LONG_WORD}", "latency_ms": 400}
        Attempt.objects.create(run=run, position=1, provider="provider-1", model="m", started_ms=0, **failed)
        if status == "succeeded":
            answered = {"outcome": status, "first_text_ms": 600, "latency_ms": 800, "input_tokens": 1200}
            Attempt.objects.create(
                run=run, position=2, provider="provider-2", started_ms=400, output_tokens=80, **answered
            )
