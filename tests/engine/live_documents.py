"""Snapshots for the tests of the live document: one with everything in it, and a strategy for arbitrary ones."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from promptops.engine import JsonContract, LinesContract, Prices, ProviderSpec, SettingsSpec, TemplateSpec, TextContract
from promptops.engine.operations import OPERATIONS, InputField, OperationSpec
from promptops.engine.safety.guard import DenyTerm, SafetyCategory, SafetyGuard, SafetyPolicy
from promptops.engine.snapshot import Lever, SafetySpec, Snapshot

SECRET = "sk-very-secret-4711"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}, "scenes": {"type": "array"}}}

SCENES = OperationSpec(
    "scenes",
    "Plans scenes.",
    input="fields",
    fields=(InputField("story", "The story", max_characters=900), InputField("mood", required=False)),
    answer="json",
    contract=JsonContract.of(SCHEMA),
    timeout_ms=9_000,
    max_tokens=3_000,
    hedge="p95",
    on_failure="hold",
    keeps_system=True,
)

POLICY = SafetyPolicy(
    {SafetyCategory.VIOLENCE: 0.79, SafetyCategory.OTHER: 1.0},
    ("killer whale",),
    (DenyTerm("gore*", SafetyCategory.VIOLENCE),),
)


def full_snapshot() -> Snapshot:
    """Return a snapshot that uses every part of the document."""
    return Snapshot(
        revision=128,
        epoch="3f0c",
        operations={**OPERATIONS, "scenes": SCENES},
        templates=(
            TemplateSpec(
                id=11,
                name="enhance",
                operation="enhance",
                version_id=70,
                version_number=4,
                body=r"Write for {{ season }}, and \{{ name }} stays. 日本",
                temperature=0.5,
                max_tokens=None,
                model="big",
                sha256="a" * 64,
                parameters={"top_p": 0.9, "reasoning_effort": "low"},
                user_template="{{ season }}: {{ input }}",
                examples=(("a fox", "A red fox"),),
            ),
            TemplateSpec(12, "scenes", "scenes", 71, 1, "Plan {{ x }}", None, 99, None, "b" * 64),
        ),
        defaults={"enhance": 11, "scenes": 12},
        providers=(
            ProviderSpec(
                id=5,
                name="first",
                kind="cerebras",
                base_url="",
                model="m",
                timeout_ms=4_000,
                api_key=SECRET,
                prices=Prices(0.1, None, 0.4),
                fall_back_on=frozenset({"refused", "auth"}),
                adaptations=frozenset({"no_stream"}),
                max_concurrent=8,
                context_tokens=8_000,
                first_text_ms=900,
                stall_ms=800,
            ),
            ProviderSpec(6, "second", "openai", "http://127.0.0.1:1/v1", "n", None, key_env="MINE_API_KEY"),
        ),
        settings=SettingsSpec(9_000, 0.3, 512),
        variables={"enhance": {"season": "winter {{ input }}"}},
        safety=SafetySpec(
            mode="enforce",
            blocks_languages=False,
            expected_languages=("Spanish", "French"),
            blocks_expected=False,
            policy=POLICY,
            model_id=3,
            model_number=2,
            model_sha256="c" * 64,
            model_labels={"safe": None, "violence": SafetyCategory.VIOLENCE},
            guard=SafetyGuard(None, POLICY),
        ),
        levers=(Lever("pass_through", "enhance", NOON, "vendor is down", "ada"), Lever("freeze", "", NOON)),
    )


def _optional(strategy):
    return st.none() | strategy


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.lists(
    st.sampled_from(["{{", "}}", "\\", "{", "}", "{{ a }}", "{{ input }}", "\\{{", " ", "x", "日", "\x00", "\u2028"]),
    max_size=8,
).map("".join)
names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
milliseconds = st.integers(0, 600_000)
numbers = st.floats(0, 2) | st.integers(0, 2)
hashes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))

contracts = (
    st.builds(TextContract, one_paragraph=st.booleans(), max_words=_optional(st.integers(1, 500)))
    | st.integers(1, 10).flatmap(lambda count: st.builds(LinesContract, st.just(count), _optional(st.just(1))))
    | st.sampled_from([JsonContract.of(SCHEMA), JsonContract.of(SCHEMA, {"required": ["title"]})])
)


@st.composite
def _operations(draw, name):
    contract = draw(contracts)
    takes = draw(st.sampled_from(["text", "list", "fields"]))
    fields = draw(st.lists(st.builds(InputField, names, texts, st.booleans(), _optional(st.integers(1, 99))), **FEW))
    return OperationSpec(
        name,
        draw(texts),
        default_text=draw(texts),
        input=takes,
        fields=tuple({field.name: field for field in fields}.values()) if takes == "fields" else (),
        answer=contract.kind,
        count=getattr(contract, "count", None),
        contract=draw(st.sampled_from([contract, None])),
        timeout_ms=draw(_optional(milliseconds)),
        max_tokens=draw(_optional(st.integers(1, 9_000))),
        hedge=draw(st.sampled_from(["", "p95", "250"])),
        on_failure=draw(st.sampled_from(["error", "hold"])),
        keeps_system=draw(st.booleans()),
    )


FEW = {"min_size": 1, "max_size": 3}
examples = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
parameters = st.dictionaries(names, numbers | texts | st.booleans(), max_size=3)
providers = st.builds(
    ProviderSpec,
    id=st.integers(1, 99),
    name=names,
    kind=st.sampled_from(["cerebras", "groq", "openai", "local", "unheard_of"]),
    base_url=st.sampled_from(["", "http://127.0.0.1:1/v1", "https://api.cerebras.ai/v1"]),
    model=st.text("abc/-", max_size=9),
    timeout_ms=_optional(milliseconds),
    api_key=_optional(st.just(SECRET)),
    key_env=_optional(st.sampled_from(["MINE_API_KEY"])),
    max_concurrent=_optional(st.integers(1, 99)),
    prices=_optional(st.builds(Prices, numbers, _optional(numbers), numbers)),
    fall_back_on=st.frozensets(st.sampled_from(["auth", "not_found", "refused"])),
    context_tokens=_optional(st.integers(1, 9_999)),
    first_text_ms=_optional(milliseconds),
    stall_ms=_optional(milliseconds),
    adaptations=st.frozensets(st.sampled_from(["no_stream", "system_in_user"])),
    key_problem=_optional(texts),
    json_mode=st.sampled_from([None, "none", "object", "schema"]),
)
categories = st.sampled_from(list(SafetyCategory))
policies = st.builds(
    SafetyPolicy,
    st.dictionaries(categories, st.floats(0, 1)),
    st.lists(texts, max_size=3).map(tuple),
    st.lists(st.builds(DenyTerm, texts, categories), max_size=3).map(tuple),
)
safeties = st.builds(
    SafetySpec,
    mode=st.sampled_from(["off", "shadow", "enforce"]),
    blocks_when_down=st.booleans(),
    blocks_languages=st.booleans(),
    expected_languages=st.lists(texts, max_size=3).map(tuple),
    blocks_expected=st.booleans(),
    policy=policies,
    model_number=st.integers(0, 99),
    model_sha256=hashes | st.just(""),
    model_labels=st.dictionaries(texts, _optional(categories), max_size=3),
    second_mode=st.sampled_from(["off", "shadow", "enforce"]),
    second_scope=st.sampled_from(["doubtful", "all"]),
    second_threshold=_optional(st.floats(0, 1)),
)


@st.composite
def snapshots(draw):
    """Draw a snapshot as PromptOps could have it, also with rows of archived operations."""
    operations = {name: draw(_operations(name)) for name in draw(st.lists(names, unique=True, **FEW))}
    of_operation = st.sampled_from([*operations, "archived_one"])
    templates = draw(
        st.lists(
            st.builds(
                TemplateSpec,
                id=st.integers(1, 9_999),
                name=names,
                operation=of_operation,
                version_id=st.integers(1, 9_999),
                version_number=st.integers(1, 99),
                body=texts,
                temperature=_optional(numbers),
                max_tokens=_optional(st.integers(1, 99)),
                model=_optional(texts),
                sha256=hashes,
                parameters=parameters,
                user_template=texts,
                examples=examples,
            ),
            max_size=4,
            unique_by=(lambda each: each.id, lambda each: each.name),
        )
    )
    passing = st.builds(Lever, st.just("pass_through"), of_operation, moments, texts, texts)
    return Snapshot(
        revision=draw(st.integers(0, 10_000)),
        epoch=draw(texts),
        operations=operations,
        templates=tuple(templates),
        defaults={each.operation: each.id for each in templates if draw(st.booleans())},
        providers=tuple(draw(st.lists(providers, max_size=3, unique_by=lambda each: each.name))),
        settings=draw(st.builds(SettingsSpec, milliseconds, numbers, st.integers(1, 9_999))),
        variables=draw(st.dictionaries(of_operation, st.dictionaries(names, texts, max_size=3), max_size=2)),
        safety=draw(safeties),
        levers=tuple(draw(st.lists(passing | moments.map(lambda at: Lever("freeze", "", at)), max_size=2))),
    )
