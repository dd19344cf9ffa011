"""The fields of a version's content are declared once; models, forms and limits follow from the declaration."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from django import forms
from django.core.exceptions import ValidationError

from promptops.compare.models import Arm
from promptops.ledger.models import LiveConfiguration
from promptops.prompts import content
from promptops.prompts.content import (
    FIELDS,
    LIVE_DEFAULTS,
    NOTHING,
    PARAMETERS,
    SETTINGS,
    TEXTS,
    Content,
    Setting,
    differences,
    effective,
    parameters_in_words,
    summary,
    texts,
    values_of,
)
from promptops.prompts.forms import ContentForm, setting_field
from promptops.prompts.models import DiscardedDraft, Draft, Version
from promptops.prompts.models.templates import content_sha256
from promptops.runs.models import Run
from promptops.site.forms import SettingsForm

UNSET_LATER = {
    "top_p": None,
    "reasoning_effort": None,
    "seed": None,
    "user_template": None,
    "examples": None,
    "answer_rules": None,
}
LIVE = SimpleNamespace(temperature=0.7, max_tokens=256)


@pytest.mark.parametrize("model", [Version, Draft, DiscardedDraft, Arm])
def test_models_with_a_content_have_a_column_for_each_field(model) -> None:
    assert set(FIELDS) <= {field.name for field in model._meta.concrete_fields}


@pytest.mark.parametrize(("model", "settings"), [(LiveConfiguration, LIVE_DEFAULTS), (Run, PARAMETERS)])
def test_what_is_decided_in_the_end_has_a_column_for_each_setting(model, settings) -> None:
    assert set(settings) <= {field.name for field in model._meta.concrete_fields}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_limits_of_a_setting_are_the_same_everywhere(name) -> None:
    setting = SETTINGS[name]
    column = Version._meta.get_field(name)
    assert column.max_length == setting.max_characters
    assert [validator.limit_value for validator in column.validators if validator in setting.validators] == [
        limit for limit in (setting.minimum, setting.maximum) if limit is not None
    ]
    for field in (setting_field(name), ContentForm().fields[name]):
        assert field.label == setting.label
        assert not field.required
        if setting.choices:
            assert [value for value, _ in field.choices] == ["", *setting.choices]
            assert [value for value, _ in column.choices] == list(setting.choices)
        elif isinstance(field, forms.CharField):
            assert field.max_length == setting.max_characters
        else:
            assert (field.min_value, field.max_value) == (setting.minimum, setting.maximum)


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("max_tokens", 0),
        ("max_tokens", 32_769),
        ("model", "m" * 201),
        ("top_p", 1.1),
        ("reasoning_effort", "a lot"),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_forms_and_models_refuse_a_value_outside_the_limits(name, outside) -> None:
    assert name in ContentForm({"body": "A text.", name: outside}).errors
    with pytest.raises(ValidationError) as refused:
        Version(body="A text.", **{name: outside}).clean_fields()
    assert name in refused.value.message_dict


def test_the_form_returns_the_typed_content() -> None:
    form = ContentForm({"body": " A text. ", "temperature": "0.5", "max_tokens": "", "model": " m "}, defaults=LIVE)
    assert form.is_valid()
    assert form.content.cleaned() == Content("A text.", 0.5, None, "m")
    placeholders = [form.fields[name].widget.attrs.get("placeholder") for name in SETTINGS]
    assert placeholders[:6] == ["0.7", "256", "each provider's own", "the model's own", None, "random"]
    assert placeholders[6:] == ["exactly the input", "none", "only the operation's"]
    assert form.fields["reasoning_effort"].choices[0] == ("", "the model's own")
    assert [field.name for field in [*form.settings, *form.more_settings, *form.more_texts]] == list(SETTINGS)
    assert form.more_set == []
    more = ContentForm({"body": "A text.", "top_p": "0", "reasoning_effort": "low", "seed": ""})
    assert more.is_valid()
    assert more.content.cleaned() == Content("A text.", top_p=0.0, reasoning_effort="low")
    assert more.more_set == ["Top p", "Reasoning effort"]
    texts = ContentForm({"body": "A text.", "user_template": "\r\n Say: {{ input }}\r\nNow. \n", "examples": " \n"})
    assert texts.is_valid()
    assert texts.content.cleaned() == Content("A text.", user_template="Say: {{ input }}\nNow.")
    assert texts.more_set == ["User template", "Examples"]
    assert all("maxlength" not in texts.fields[name].widget.attrs for name in TEXTS)


def test_the_settings_page_shows_the_same_limits() -> None:
    form = SettingsForm(LiveConfiguration())
    assert (form.fields["temperature"].label, form.fields["max_tokens"].label) == (
        "Default temperature",
        "Default max tokens",
    )
    assert form.fields["max_tokens"].help_text == "1 to 32,768, if a prompt sets none."
    assert form.fields["temperature"].required


@pytest.mark.parametrize(
    ("content", "cleaned"),
    [
        (Content("a\r\n"), Content("a")),
        (Content("a", -0.0), Content("a", 0.0)),
        (Content("a", 1), Content("a", 1.0)),
        (Content("a", None, 5, " m "), Content("a", None, 5, "m")),
    ],
)
def test_a_content_is_cleaned(content, cleaned) -> None:
    assert repr(content.cleaned()) == repr(cleaned)  # repr distinguishes -0.0 from 0.0, and 1 from 1.0


def test_settings_in_words() -> None:
    content = Content("a", 0.5)
    assert summary(content) == [
        ("Temperature", "0.5"),
        ("Max tokens", "default"),
        ("Model", "each provider's own"),
    ]
    assert differences({}, values_of(content)) == [
        ("Temperature", "default", "0.5"),
        ("Max tokens", "default", "default"),
        ("Model", "default", "default"),
    ]
    assert summary(replace(content, top_p=0.9, examples="a\n=>\nb"))[3:] == [("Top p", "0.9")]
    assert texts(replace(content, examples="a\n=>\nb")) == [("Examples", "a\n=>\nb")]
    (added,) = differences({}, {"user_template": "{{ input }}"})[3:]
    assert (added, added.is_text) == (("User template", "", "{{ input }}"), True)
    assert differences({}, {"seed": 7})[3:] == [("Seed", "default", "7")]
    assert parameters_in_words(replace(content, top_p=0.9, reasoning_effort="low", seed=7)) == (
        "temperature 0.5, top p 0.9, reasoning effort low, seed 7"
    )
    assert parameters_in_words(Content("a", 1, 1024, "m")) == "temperature 1, at most 1,024 tokens"
    assert parameters_in_words(content) == "temperature 0.5"
    assert dict(NOTHING) == {"body": "", "temperature": None, "max_tokens": None, "model": "", **UNSET_LATER}


@pytest.mark.parametrize(
    ("content", "decided"),
    [
        (Content("a"), {"temperature": 0.7, "max_tokens": 256, "model": ""}),
        (Content("a", 0.0, 9, "m"), {"temperature": 0.0, "max_tokens": 9, "model": "m"}),
    ],
)
def test_live_settings_fill_in_unset_values(content, decided) -> None:
    assert effective(content, LIVE) == decided | UNSET_LATER


def test_a_later_setting_changes_no_hash_and_no_file_of_a_content_that_leaves_it_open(monkeypatch) -> None:
    monkeypatch.setattr(content, "SETTINGS", SETTINGS | {"extra": Setting("Extra", float, name="extra")})
    values = {"body": "a", "temperature": None, "max_tokens": None, "model": ""}
    assert content.lasting(values_of(Content("a"))) == values
    assert content.lasting(values | {"extra": None}) == values
    assert content.lasting(values | {"extra": 0.5}) == values | {"extra": 0.5}
    assert content_sha256(values | {"extra": None}) == content_sha256(values) != content_sha256(values | {"extra": 1.0})


def test_the_hashes_of_versions_without_later_settings_stay_as_they_were() -> None:
    # Taken from the release before the user template and the examples.
    stored = "2b80ac7d0302fa210a15be845cbbde2bfffac5f4e2d161a72fd365750d8dda07"
    assert content_sha256(values_of(Content("Polish it.", 0.5, 256, "m"))) == stored
    with_both = Content("Polish it.", 0.5, 256, "m", user_template="{{ input }}", examples="a\n=>\nb")
    hashed_with_both = (
        "3cc74e7d28fc67e17f698664d2d7f709e85743a914a0e806b15409a4c32104fb"  # from the release before the answer rules
    )
    assert content_sha256(values_of(with_both)) == hashed_with_both != stored
    with_rules = replace(with_both, answer_rules="at most 60 words")
    assert content_sha256(values_of(with_rules)) not in (stored, hashed_with_both)
