"""The rule for pinned sessions, which PromptOps' sessions and those of the library share.

A session keeps the texts, settings and contracts that it began with. Chain, safety filter and levers are always the
newest, because they protect the stream. A release may apply to pinned sessions too. Which sessions there are, and when
they end, belongs to their owners.
"""

from __future__ import annotations

from dataclasses import replace

from promptops.engine.snapshot import Snapshot


def is_overridden(epoch: str, revision: int, live: Snapshot) -> bool:
    """Return whether a session that is pinned to this revision of this epoch has to take what is live.

    A new epoch begins without an override (`pins_from` 0), so any override in it is newer than a pin of another epoch.
    """
    return revision < live.pins_from if epoch == live.epoch else live.pins_from > 0


def pinned(pin: Snapshot, live: Snapshot) -> Snapshot:
    """Return what a session runs that is pinned to `pin`, while `live` is live.

    If the result is `live` itself, move the pin to it: the override counts once, and later releases leave the session.
    """
    if pin is live or is_overridden(pin.epoch, pin.revision, live):
        return live
    return with_live_protection(pin, live)


def with_live_protection(content: Snapshot, live: Snapshot) -> Snapshot:
    """Return texts, settings and contracts of `content` with the chain, the safety filter and the levers of `live`."""
    return replace(content, providers=live.providers, safety=live.safety, levers=live.levers, pins_from=live.pins_from)
