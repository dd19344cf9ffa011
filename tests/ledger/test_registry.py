"""The registry of audited actions: declarations of features, and values derived from them."""

import pytest

from promptops.ledger import registry
from promptops.ledger.models import AuditEntry
from promptops.ledger.registry import Action


def test_every_action_has_a_declared_noun_and_kind_of_object():
    nouns = {action.noun: registry.noun_label(action.noun) for action in registry.actions()}
    assert all(nouns.values())
    assert {action.object for action in registry.actions()} - {""} == {kind.name for kind in registry.kinds()}


def test_actions_are_listed_by_noun_and_name_in_any_order_of_imports():
    listed = [(registry.noun_label(action.noun), action.name) for action in registry.actions()]
    assert listed == sorted(listed)


def test_a_second_declaration_of_a_name_is_refused():
    with pytest.raises(ValueError, match=r"template\.published is declared already"):
        registry.register(Action("template.published", "{actor}", when="never"))
    assert registry.action("template.published").sentence == "{actor} published {object} v{after[version]}"


def test_an_unknown_action_raises_and_names_the_solution():
    with pytest.raises(registry.UnknownAction, match=r"'template\.painted'.*Register it"):
        registry.action("template.painted")
    assert registry.sentence_of("template.painted") is None


@pytest.mark.parametrize(
    ("kind", "pk", "name", "after", "url"),
    [
        ("template", "1", "noir", {"version": 3}, "/prompts/noir/v3/"),
        ("template", "1", "noir", {"description": "x"}, "/prompts/noir/"),
        ("template", "1", "noir", None, "/prompts/noir/"),
        ("template", "1", "no name of an address", None, ""),
        ("run", "7", "run 7", None, "/runs/7/"),
        ("comparison", "2", "Old or new", None, "/compare/2/"),
        ("promptset", "4", "Foxes", None, "/compare/sets/4/"),
        ("provider", "1", "groq", None, ""),
        ("", "", "settings", None, ""),
        ("poem", "1", "an object of a later release", None, ""),
    ],
)
def test_the_address_of_an_object(kind, pk, name, after, url):
    entry = AuditEntry(object_type=kind, object_id=pk, object_name=name, after=after)
    assert registry.object_url(entry) == url


def test_labels_of_values():
    assert registry.value_label("base_url") == "Base URL"
    assert registry.value_label("self_harm_from") == "Threshold of self-harm"
    assert registry.value_label("changed_by_hand") == "Changed by hand"
