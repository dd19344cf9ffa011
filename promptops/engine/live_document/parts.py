"""The parts of the live document: which attributes of the snapshot it has, under which keys, and with which limits.

To add a field: one `Entry` here with its default (or one line in `left_out` with the reason), and its meaning in
docs/api.md. Adding one does not change `FORMAT`, because a field at its default is left out. Kinds of values belong to
`values.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from promptops.engine.answers import AnswerShape
from promptops.engine.live_document.values import (
    ByName,
    Choice,
    ContractData,
    Entry,
    Flag,
    InvalidDocument,
    Items,
    Maybe,
    Moment,
    Number,
    Part,
    Scalar,
    Text,
    Whole,
    as_object,
)
from promptops.engine.operations import MAX_NAME_CHARACTERS, InputField, InputKind, OnFailure, OperationSpec
from promptops.engine.policies import FALL_BACK_CHOICES
from promptops.engine.safety.guard import DenyTerm, SafetyCategory, SafetyPolicy
from promptops.engine.safety.second_stage import DOUBTFUL, MODES, SCOPES
from promptops.engine.snapshot import Lever, LeverKind, ProviderSpec, SafetySpec, SettingsSpec, Snapshot, TemplateSpec
from promptops.engine.types import JsonMode, Prices
from promptops.engine.variables import NAME

MAX_TIME_MS = 24 * 60 * 60 * 1000
CATEGORIES = tuple(map(str, SafetyCategory))

OPERATION_NAME = Text(MAX_NAME_CHARACTERS, r"[a-z][a-z0-9_]*")
TEMPLATE_NAME = Text(100, r"[a-z0-9][a-z0-9_-]*")
VARIABLE_NAME = Text(40, NAME)
SHA256 = Text(64, r"[0-9a-f]{64}")
LABEL = Text(200)
SENTENCE = Text(2_000)
MILLISECONDS = Whole(0, MAX_TIME_MS)
TOKENS = Whole(1, 1_000_000_000)
CATEGORY = Choice(CATEGORIES, SafetyCategory)


class Example:
    """An example pair, as an object with `user` and `assistant`."""

    KEYS = ("user", "assistant")

    def write(self, value: tuple[str, str]) -> dict[str, str]:
        """Return the data of the pair."""
        return dict(zip(self.KEYS, value, strict=True))

    def read(self, data: Any, where: str) -> tuple[str, str]:
        """Return the pair."""
        if not isinstance(data, dict) or tuple(data) != self.KEYS:
            raise InvalidDocument(f"{where} must be an object with {' and '.join(self.KEYS)}.")
        return Text().read(data["user"], f"{where}.user"), Text().read(data["assistant"], f"{where}.assistant")


FIELD = Part(
    InputField,
    (
        Entry("name", VARIABLE_NAME),
        Entry("description", SENTENCE),
        Entry("required", Flag()),
        Entry("max_characters", Maybe(Whole(1))),
    ),
)

OPERATION = Part(
    OperationSpec,
    (
        Entry("name", OPERATION_NAME),
        Entry("purpose", SENTENCE),
        Entry("default_text", Text()),
        Entry("input", Choice(get_args(InputKind))),
        Entry("fields", Items(FIELD, most=100, unique="name")),
        Entry("answer", Choice((*get_args(AnswerShape), "json"))),
        Entry("count", Maybe(Whole(1, 50))),
        Entry("contract", Maybe(ContractData())),
        Entry("timeout_ms", Maybe(MILLISECONDS)),
        Entry("max_tokens", Maybe(TOKENS)),
        Entry("hedge", Text(6, r"(p95|[0-9]{1,5})?")),
        Entry("on_failure", Choice(get_args(OnFailure))),
        Entry("keeps_system", Flag()),
    ),
    {
        "samples": "examples for pages",
        "input_label": "a label of pages",
        "input_heading": "a heading of pages",
        "keeps_subject": "a measure of comparisons",
    },
)

TEMPLATE = Part(
    TemplateSpec,
    (
        Entry("name", TEMPLATE_NAME),
        Entry("operation", OPERATION_NAME),
        Entry("version_number", Whole(1), "version"),
        Entry("sha256", SHA256),
        Entry("body", Text(), "text"),
        Entry("user_template", Text()),
        Entry("examples", Items(Example(), most=100)),
        Entry("contract", Maybe(ContractData()), default=None),
        Entry("temperature", Maybe(Number(0, 100))),
        Entry("max_tokens", Maybe(TOKENS)),
        Entry("model", Maybe(LABEL)),
        Entry("parameters", ByName(Text(60, r"[A-Za-z_][A-Za-z0-9_]*"), Scalar(), most=100)),
    ),
    {
        "id": "a row's number: a template is known by its name",
        "version_id": "a row's number: a version is known by its template and number",
    },
    {"id": 0, "version_id": 0},
)

PRICES = Part(
    Prices,
    (Entry("input", Number()), Entry("cached", Maybe(Number())), Entry("output", Number())),
)

PROVIDER = Part(
    ProviderSpec,
    (
        Entry("name", Text(100, r"[a-z0-9][a-z0-9_.-]*")),
        Entry("kind", Text(20, r"\S+")),
        Entry("base_url", Text(2_000, r"(https?://\S+)?")),
        Entry("model", LABEL),
        Entry("key_env", Maybe(Text(100, r"[A-Za-z_][A-Za-z0-9_]*"))),
        Entry("key_problem", Maybe(SENTENCE)),
        Entry("timeout_ms", Maybe(MILLISECONDS)),
        Entry("first_text_ms", Maybe(MILLISECONDS)),
        Entry("stall_ms", Maybe(MILLISECONDS)),
        Entry("max_concurrent", Maybe(Whole(1))),
        Entry("context_tokens", Maybe(TOKENS)),
        Entry("prices", Maybe(PRICES)),
        Entry("fall_back_on", Items(Choice(FALL_BACK_CHOICES), frozenset)),
        Entry("adaptations", Items(Text(100, r"\S+"), frozenset, most=100)),
        Entry("json_mode", Maybe(Choice(get_args(JsonMode)))),
    ),
    {"id": "a row's number: a provider is known by its name", "api_key": "a secret"},
    {"id": 0},
)

SETTINGS = Part(
    SettingsSpec,
    (
        Entry("timeout_ms", MILLISECONDS),
        Entry("temperature", Number(0, 100)),
        Entry("max_tokens", TOKENS),
    ),
)

DENY_TERM = Part(DenyTerm, (Entry("text", LABEL), Entry("category", CATEGORY)))

POLICY = Part(
    SafetyPolicy,
    (
        Entry("thresholds", ByName(CATEGORY, Number(0, 1))),
        Entry("allow_terms", Items(LABEL)),
        Entry("deny_terms", Items(DENY_TERM)),
    ),
)

SAFETY = Part(
    SafetySpec,
    (
        Entry("mode", Choice(("off", "shadow", "enforce"))),
        Entry("blocks_when_down", Flag()),
        Entry("blocks_languages", Flag()),
        Entry("expected_languages", Items(LABEL)),
        Entry("blocks_expected", Flag()),
        Entry("policy", POLICY),
        Entry("model_number", Whole()),
        Entry("model_sha256", Text(64, r"([0-9a-f]{64})?")),
        Entry("model_labels", ByName(LABEL, Maybe(CATEGORY), most=100)),
        Entry("second_mode", Choice(MODES), default="off"),
        Entry("second_scope", Choice(SCOPES), default=DOUBTFUL),
        Entry("second_threshold", Maybe(Number(0, 1)), default=None),
    ),
    {
        "second": "the second stage in memory, which each process has if it is installed",
        "model_id": "a row's number: a model is known by its number and sha256",
        "guard": "the filter in memory, which each process makes of the rest",
    },
)

LEVER = Part(
    Lever,
    (
        Entry("kind", Choice(get_args(LeverKind))),
        Entry("operation", Text(MAX_NAME_CHARACTERS, r"([a-z][a-z0-9_]*)?")),
        Entry("expires_at", Moment()),
        Entry("note", SENTENCE),
        Entry("by", LABEL),
    ),
)


@dataclass(frozen=True)
class OfferedOperation:
    """An operation and the name of its default template, `None` without one."""

    spec: OperationSpec
    default: str | None


class Offered:
    """An operation with its default template, which a snapshot has apart from it (`Snapshot.defaults`)."""

    def write(self, value: OfferedOperation) -> dict[str, Any]:
        """Return the data of the operation."""
        return {**OPERATION.write(value.spec), "default": value.default}

    def read(self, data: Any, where: str) -> OfferedOperation:
        """Return the operation."""
        values = dict(as_object(data, where))
        if "default" not in values:
            raise InvalidDocument(f"{where}.default is missing.")
        default = Maybe(TEMPLATE_NAME).read(values.pop("default"), f"{where}.default")
        return OfferedOperation(OPERATION.read(values, where), default)


SNAPSHOT = Part(
    Snapshot,
    (
        Entry("revision", Whole()),
        Entry("epoch", Text(100)),
        Entry("operations", Items(Offered(), most=1_000, unique="name")),
        Entry("templates", Items(TEMPLATE, unique="name")),
        Entry("variables", ByName(OPERATION_NAME, ByName(VARIABLE_NAME, Text()))),
        Entry("providers", Items(PROVIDER, most=1_000, unique="name"), "chain"),
        Entry("settings", SETTINGS),
        Entry("levers", Items(LEVER, most=1_000)),
        Entry("safety", SAFETY),
        Entry("pins_from", Whole(), default=0),
    ),
    {"defaults": "each operation names its default template"},
)
