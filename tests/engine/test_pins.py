"""The rule for pinned sessions: what they keep, and when a release applies to them too."""

from dataclasses import replace

import pytest

from promptops.engine.pins import is_overridden, pinned
from promptops.engine.snapshot import SafetySpec
from tests.client.rooms import snapshot

PIN = snapshot(5, "e1")


@pytest.mark.parametrize(
    ("epoch", "pins_from", "overridden"),
    [
        ("e1", 0, False),
        ("e1", 4, False),
        ("e1", 5, False),  # the session began with the release that overrides
        ("e1", 6, True),
        ("e1", 9, True),
        ("e2", 0, False),
        ("e2", 1, True),  # a new epoch begins with 0, so this came after the pin
    ],
)
def test_a_pin_below_the_newest_override_takes_what_is_live(epoch, pins_from, overridden):
    live = replace(snapshot(9, epoch), pins_from=pins_from)
    assert is_overridden(PIN.epoch, PIN.revision, live) is overridden
    assert (pinned(PIN, live) is live) is overridden


def test_a_pin_that_holds_keeps_its_texts_and_nothing_that_protects_the_stream():
    live = replace(snapshot(9, "e1"), safety=SafetySpec(mode="enforce"), providers=(), pins_from=5)
    run = pinned(PIN, live)
    assert (run.templates, run.settings, run.operations, run.revision) == (
        PIN.templates,
        PIN.settings,
        PIN.operations,
        5,
    )
    assert (run.safety, run.providers, run.levers) == (live.safety, live.providers, live.levers)
