"""Audit entries as sentences."""

import pytest

from promptops.ledger import registry, sentences
from promptops.ledger.models import AuditEntry


def make_entry(action: str = "template.published", **fields: object) -> AuditEntry:
    return AuditEntry(
        action=action, **{"actor_name": "Ada", "object_name": "enhance", "after": {"version": 3}, **fields}
    )


@pytest.mark.parametrize(
    ("entry", "plain", "html"),
    [
        (make_entry(), "Ada published enhance v3", "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v3"),
        (
            make_entry(actor_name="<script>", object_name='"a" & b', after={"version": "<i>"}),
            '<script> published "a" & b v<i>',
            "<b><bdi>&lt;script&gt;</bdi></b> published <b><bdi>&quot;a&quot; &amp; b</bdi></b> v&lt;i&gt;",
        ),
        (
            make_entry(actor_name="{object}", object_name="{after[version]}{0}"),
            "{object} published {after[version]}{0} v3",
            "<b><bdi>{object}</bdi></b> published <b><bdi>{after[version]}{0}</bdi></b> v3",
        ),
        (
            make_entry(after=None),
            "Ada published enhance v–",
            "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v–",
        ),
        (
            make_entry(after=["odd"]),
            "Ada published enhance v–",
            "<b><bdi>Ada</bdi></b> published <b><bdi>enhance</bdi></b> v–",
        ),
        (
            make_entry("painted.<b>", after=None),
            "Ada: painted.<b> enhance",
            "<b><bdi>Ada</bdi></b>: painted.&lt;b&gt; <b><bdi>enhance</bdi></b>",
        ),
    ],
    ids=["plain", "hostile", "braces", "no values", "odd values", "no longer registered"],
)
def test_sentences(entry, plain, html):
    assert sentences.sentence(entry) == plain
    assert sentences.sentence_html(entry) == html


def test_every_action_is_a_noun_and_a_verb_with_a_sentence_of_known_parts():
    for action in registry.actions():
        noun, verb = action.name.split(".")
        template = action.sentence
        assert (noun + verb).replace("_", "").isalpha()
        assert template.format(actor="A", object="O", before=sentences._Values(), after=sentences._Values())
        assert not set("<>&") & set(template)
