"""The library for streaming servers: run what is live in PromptOps, and follow every release. Needs no Django.

docs/servers.md shows how to connect a server.
"""

from promptops.client.live_enhancer import LiveEnhancer, LiveState
from promptops.client.operating import Session
from promptops.client.results import BlockedText, CuratedPrompt, Curation, KeepRunning, LiveResponse
from promptops.client.timing import Clock, Timing

__all__ = [
    "BlockedText",
    "Clock",
    "CuratedPrompt",
    "Curation",
    "KeepRunning",
    "LiveEnhancer",
    "LiveResponse",
    "LiveState",
    "Session",
    "Timing",
]
