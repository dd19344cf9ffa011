"""Fixtures of the tests of prompts."""

import pytest

from promptops.prompts.actions import sets


@pytest.fixture
def enhance(publish):
    return publish("enhance", "First line.\nSecond line.", note="from files").template


@pytest.fixture
def folder(publish, actor, tmp_path):
    """Export two templates of enhance and one of rewrite, and return the folder."""
    publish("enhance", "First line.\nSecond line.", note="from the start", temperature=0.4, max_tokens=99)
    publish("noir", "Dark. 狐", operation="enhance", model="m")
    publish("rewrite", "Offer.")
    sets.write_set(tmp_path, by=actor)
    return tmp_path
