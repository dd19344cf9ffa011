"""Fixtures of the fleet: a live configuration with a known hash, and servers."""

import pytest

from promptops.fleet import contents
from promptops.live import documents
from promptops.live import snapshots as live
from tests.fleet.servers import save_server


@pytest.fixture
def released(publish):
    """`released("text")`: publish, remember the hash of the document, and return the document."""

    def release(text: str = "Text"):
        publish("enhance", text)
        live.refresh()
        document = documents.current()
        contents.remember(document.epoch, document.revision, document.sha256)
        return document

    return release


@pytest.fixture
def make_server(db):
    """`make_server("gpu-7", revision=3)`: a server as its last report left it."""
    return save_server
