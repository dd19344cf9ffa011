"""Exports of the live texts: what they hold beside system prompts. The files themselves are in tests/live."""

import json

import pytest

from promptops.prompts.actions.prompts import export_prompts
from promptops.prompts.actions.variables import declare

pytestmark = pytest.mark.django_db
MORE = {"user_template", "examples", "settings"}


def test_the_manifest_has_what_a_version_has_beside_its_system_prompt(publish, tmp_path, actor):
    declare("enhance", "mood", "calm", by=actor)
    publish(
        "enhance",
        "Polish it.",
        user_template="{{ mood }}: {{ input }}",
        examples="a fox\n=>\nA {{ mood }} fox.",
        temperature=0.0,
        top_p=0.5,
        model="m",
    )
    publish("rewrite", "Offer two.")
    export_prompts(tmp_path, by=actor)
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert {name: value for name, value in files["enhance.txt"].items() if name in MORE} == {
        "user_template": "calm: {{ input }}",
        "examples": [{"user": "a fox", "assistant": "A {{ mood }} fox."}],
        "settings": {"temperature": 0.0, "top_p": 0.5, "model": "m"},
    }
    assert not MORE & files["rewrite.txt"].keys()
    export_prompts(tmp_path, by=actor, keep_variables=True)
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert files["enhance.txt"]["user_template"] == "{{ mood }}: {{ input }}"
    assert (tmp_path / "enhance.txt").read_text() == "Polish it.\n"
