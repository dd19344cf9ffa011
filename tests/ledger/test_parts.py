"""The parts of the live configuration: what a release stores of each, and that no central module names a feature."""

import ast
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models

import promptops
from promptops.fleet.models import Lever
from promptops.ledger import parts
from promptops.ledger.audit import Actor
from promptops.ledger.models import LiveConfiguration, Release
from promptops.prompts import live_operations
from promptops.prompts.actions import operations, releases, templates, variables
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.releases import Content
from promptops.prompts.models import Operation, Template, Variable, Version
from promptops.providers.actions import chain
from promptops.providers.actions.chain import ProviderFields
from promptops.providers.live_part import RELEASED
from promptops.providers.models import Provider
from promptops.safety.actions import filter_settings
from promptops.safety.actions.filter_settings import SafetyChange, Term
from promptops.safety.models import SafetySettings, SafetyTerm
from promptops.site import actions as settings
from promptops.site.actions import Settings
from tests.fleet.levers import pass_through

SECRET = "hunter2"


def release_everything(actor: Actor) -> Version:
    """Change every part, so that the newest release stores values of all."""
    variables.declare("enhance", "mood", "calm", by=actor, description="How it feels")
    template = templates.create_template("enhance", "enhance", by=actor)
    version = releases.publish(template, Content("Polish it."), by=actor, expected=None)
    templates.create_template("idle", "rewrite", by=actor)
    fast = ProviderFields("fast", "groq", "llama", timeout_ms=900, max_concurrent=4, context_tokens=8000)
    limits = {"price_input": 0.1, "price_output": 0.2, "first_text_ms": 400, "stall_ms": 300}
    fast = ProviderFields(**vars(fast) | limits | {"adaptations": ("no_seed",)})
    chain.create_provider(fast, by=actor, key="sk-secret")
    off = ProviderFields("off", "openai", base_url="http://127.0.0.1:8080/v1")
    chain.create_provider(off, by=actor, key_env="MY_API_KEY", enabled=False)
    enhance = Operation.objects.get(name="enhance")
    fields = OperationFields(enhance.purpose, hedge="p95")
    operations.change(enhance, fields, by=actor, expected=0)
    settings.change_settings(Settings(9000, 0.5, 99, 7), by=actor, expected=0)
    terms = (Term("deny", "acme cola", "other"), Term("allow", "shoot a sunset"))
    change = SafetyChange(mode="shadow", thresholds={"violence": 0.9}, terms=terms)
    filter_settings.change_safety(change, by=actor, expected=0)
    pass_through(by=actor, note="The model writes nonsense")
    return version


def operation(name: str, purpose: str, answer: dict[str, object], hedge: str = "") -> dict[str, object]:
    """Return a built-in operation as a release stores it."""
    form = {"input": "text", "fields": [], "input_label": "", "input_heading": ""}
    limits = {"timeout_ms": None, "max_tokens": None, "hedge": hedge, "retention_days": None}
    last = {"on_failure": "error", "keeps_system": False}
    return {"name": name, "purpose": purpose} | form | {"answer": answer} | limits | last


def expected_filter() -> dict[str, Any]:
    """Return the safety filter as releases stored it before there were parts."""
    thresholds = SafetySettings.objects.get().model.manifest["thresholds"] | {"violence": 0.9}
    return {
        "mode": "shadow",
        "when_down": "block",
        "when_language": "block",
        "model": 1,
        "second_mode": "off",
        "second_scope": "doubtful",
        **{f"{name}_from": round(value, 6) for name, value in sorted(thresholds.items())},
        "allow_terms": "shoot a sunset",
        "deny_terms": "acme cola (other)",
        # Since rollbacks read it; pages show the values above.
        "stored": {
            "thresholds": {"violence": 0.9},
            "terms": [
                {"kind": "allow", "text": "shoot a sunset", "category": ""},
                {"kind": "deny", "text": "acme cola", "category": "other"},
            ],
        },
    }


def expected_lever() -> dict[str, str]:
    """Return the lever as a release stores it."""
    named = {"kind": "pass_through", "operation": "enhance", "note": "The model writes nonsense"}
    return named | {"expires_at": Lever.objects.get().expires_at.isoformat(), "by": "Ada Administrator"}


def expected_provider() -> dict[str, Any]:
    """Return the provider that is on, as a release stores it."""
    return {
        "name": "fast",
        "kind": "groq",
        "base_url": "",
        "model": "llama",
        "timeout_ms": 900,
        "max_concurrent": 4,
        "context_tokens": 8000,
        "price_input": 0.1,
        "price_cached": None,
        "price_output": 0.2,
        "first_text_ms": 400,
        "stall_ms": 300,
        "fall_back_on_auth": True,
        "fall_back_on_not_found": False,
        "fall_back_on_refused": True,
        "adaptations": ["no_seed"],
        "json_mode": "",
        "key": "stored key",
    }


def expected(version: Version) -> str:
    """Return the configuration as releases stored it before there were parts. Readers rely on every name."""
    text, alternatives = {"kind": "text"}, {"kind": "lines", "count": 3, "at_least": 1}
    return json.dumps(
        {
            "operations": [
                operation("enhance", "Polishes what a viewer typed before it reaches the video model.", text, "p95"),
                operation("auto_extend", "Invents the next prompt from the ones that came before.", text)
                | {
                    "input": "list",
                    "input_label": "Prior prompts, one per line",
                    "input_heading": "Prompts so far",
                },
                operation("rewrite", "Offers alternatives to a prompt.", alternatives),
            ],
            "templates": [
                {
                    "name": "enhance",
                    "operation": "enhance",
                    "default": True,
                    "version": 1,
                    "version_id": version.pk,
                }
            ],
            "providers": [expected_provider()],
            "variables": [{"operation": "enhance", "name": "mood", "value": "calm"}],
            "settings": {
                "timeout_ms": 9000,
                "temperature": 0.5,
                "max_tokens": 99,
                "run_retention_days": 7,
                "run_deletion_days": None,
            },
            "safety": expected_filter(),
            "levers": [expected_lever()],
        }
    )


@pytest.mark.django_db
def test_a_release_stores_the_same_bytes_as_before(actor):
    version = release_everything(actor)
    assert json.dumps(parts.configuration()) == expected(version)
    assert Release.objects.first().configuration == json.loads(expected(version))


@pytest.fixture
def new_column(request: pytest.FixtureRequest, db: None) -> Iterator[None]:
    """Add a column of a later version of PromptOps. It has a secret, and no list names it."""
    model: type[models.Model] = request.param
    with connection.cursor() as cursor:  # the test's transaction undoes it
        cursor.execute(f"ALTER TABLE {model._meta.db_table} ADD COLUMN token varchar(20) NOT NULL DEFAULT '{SECRET}'")
    field = models.CharField(max_length=20, default=SECRET)
    field.contribute_to_class(model, "token")
    yield
    model._meta.local_fields.remove(field)
    model._meta._expire_cache()
    delattr(model, "token")


@pytest.mark.parametrize(
    "new_column",
    [Operation, Provider, LiveConfiguration, Variable, Template, Version, SafetySettings, SafetyTerm, Lever],
    indirect=True,
    ids=lambda model: model.__name__,
)
def test_an_unlisted_column_is_in_no_release_and_no_entry(new_column, actor):
    version = release_everything(actor)
    assert json.dumps(parts.configuration()) == expected(version)
    assert SECRET not in json.dumps([release.configuration for release in Release.objects.all()])
    tables = ("promptops_release", "promptops_auditentry")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT * FROM {table}")
            rows = cursor.fetchall()
            assert rows
            assert SECRET not in str(rows)


def test_a_release_stores_every_field_of_the_forms():
    """A field that people can set must be in a release, or the timeline would not show it."""
    assert {field.name for field in fields(ProviderFields)} == set(RELEASED)
    assert {field.name for field in fields(OperationFields)} < set(live_operations.RELEASED)
    config = LiveConfiguration()
    assert set(parts.part("settings").release_values(config)) == {field.name for field in fields(Settings)}


def test_a_part_is_registered_once():
    with pytest.raises(ValueError, match="The part safety is registered already"):
        parts.register(parts.part("safety"))


# The models that belong to the central modules, and those that `live` still reads to follow other processes.
OWN = {"AuditEntry", "AuditHead", "LiveConfiguration", "Release", "User"}
FOLLOWED = {"LearnedAdaptation", "Provider"}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("ledger/audit.py", OWN),
        ("ledger/registry.py", OWN),
        ("ledger/parts.py", OWN),
        ("ledger/releases.py", OWN),
        ("live/snapshots.py", OWN | FOLLOWED),
    ],
)
def test_the_central_modules_import_no_model_of_a_feature(module, allowed):
    source = Path(promptops.__file__).parent / module
    imported = {
        alias.name
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("promptops.models")
        for alias in node.names
    }
    assert imported <= allowed
