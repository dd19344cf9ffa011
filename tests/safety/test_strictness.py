"""Changes of the safety filter that only make it stricter, which a freeze lets pass."""

import pytest

from promptops.safety.strictness import is_stricter


@pytest.mark.parametrize(
    ("before", "after", "stricter"),
    [
        ({"mode": "off"}, {"mode": "shadow"}, True),
        ({"mode": "shadow"}, {"mode": "enforce"}, True),
        ({"mode": "enforce"}, {"mode": "shadow"}, False),
        ({"mode": "enforce"}, {"mode": "unheard"}, False),
        ({"when_down": "allow"}, {"when_down": "block"}, True),
        ({"when_language": "block"}, {"when_language": "allow"}, False),
        ({"when_expected": "allow"}, {"when_expected": "block"}, True),
        ({"expected_languages": None}, {"expected_languages": "Spanish"}, False),
        ({"violence_from": 0.8}, {"violence_from": 0.5}, True),
        ({"violence_from": 0.5}, {"violence_from": 0.8}, False),
        ({"violence_from": None}, {"violence_from": 0.8}, True),
        ({"violence_from": 0.8}, {"violence_from": None}, False),
        ({"deny_terms": "a"}, {"deny_terms": "a\nb"}, True),
        ({"deny_terms": "a\nb"}, {"deny_terms": "b"}, False),
        ({"allow_terms": "a\nb"}, {"allow_terms": "b"}, True),
        ({"allow_terms": ""}, {"allow_terms": "b"}, False),
        ({"model": 2}, {"model": 3}, False),
        ({"mode": "shadow", "violence_from": 0.5}, {"mode": "enforce", "violence_from": 0.8}, False),
        ({"mode": "shadow"}, {"mode": "enforce", "again": "as r3 had it"}, True),
    ],
)
def test_only_changes_that_block_no_less_are_stricter(before, after, stricter):
    assert is_stricter(before, after) is stricter
