"""The rule for changes of the safety filter that only make it stricter. Such a change is possible during a freeze."""

from typing import Any

from promptops.runs.enums import SafetyMode
from promptops.safety.enums import SafetyTermKind, SecondStageMode, WhenUnavailable

MODES = [SafetyMode.OFF, SafetyMode.SHADOW, SafetyMode.ENFORCE]
"""From the mode that blocks nothing to the one that blocks most."""
NO_SETTING = {"again"}
"""Values of an audit entry that are no setting of the filter."""


def is_stricter(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether no changed value blocks less than before. The values are those of an audit entry.

    Another model counts as not stricter: nobody knows what it blocks.
    """
    names = (set(before) | set(after)) - NO_SETTING
    return all(_blocks_no_less(name, before.get(name), after.get(name)) for name in names)


def _blocks_no_less(name: str, before: Any, after: Any) -> bool:
    if before == after:
        return True
    if name == "mode":
        return before in MODES and after in MODES and MODES.index(after) > MODES.index(before)
    if name == "second_mode" and SecondStageMode.ENFORCE not in (before, after):
        return True
    if name in ("second_mode", "second_scope", "second_from"):
        return False  # the second stage also clears texts in other languages, which would be blocked without it
    if name in ("when_down", "when_language", "when_expected"):
        return bool(after == WhenUnavailable.BLOCK)
    if name.endswith("_from"):  # a category without a threshold never blocks
        return after is not None and (before is None or after < before)
    if name == f"{SafetyTermKind.DENY}_terms":
        return _terms(before) <= _terms(after)
    if name == f"{SafetyTermKind.ALLOW}_terms":
        return _terms(after) <= _terms(before)
    return False


def _terms(lines: Any) -> set[str]:
    return set(str(lines or "").splitlines())
