"""An operation that a person adds is offered everywhere, with no file changed."""

import pytest

from promptops.ledger.audit import SYSTEM
from promptops.live import snapshots as live
from promptops.prompts.actions import operations
from promptops.prompts.actions.operations import OperationFields
from promptops.prompts.actions.samples import pin
from promptops.prompts.actions.variables import declare
from promptops.prompts.models import Sample, Template
from promptops.runs import previews

CAPTION = OperationFields(
    purpose="Names a clip.",
    input="list",
    input_label="Prompts of the clip, one per line",
    input_heading="Prompts of the clip",
    answer={"kind": "lines", "count": 4},
    timeout_ms=1500,
    max_tokens=99,
    hedge="50",
)


@pytest.fixture
def caption(publish) -> Template:
    """Publish a template of an operation that is not built in, and pin a sample for it."""
    operations.add("caption", CAPTION, by=SYSTEM)
    template = publish("clip", "Name the clip.", operation="caption").template
    pin("caption", "a fox in snow\na fox sleeps", by=SYSTEM)
    return template


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", ['id="operation-caption"', "template clip"]),
        ("/prompts/new", ['value="caption"']),
        ("/prompts/clip", ["Prompts of the clip, one per line", 'rows="4"', 'max="10" value="4"', "a fox in snow"]),
        ("/prompts/clip", ['placeholder="99"']),
        ("/compare/new", ['href="?operation=caption"']),
        ("/compare/new/?operation=caption", ['name="operation" value="caption"', 'value="4"']),
        ("/variables", ['id="caption-title"', "house_style"]),
        ("/variables/new", ['value="caption"']),
        ("/runs", ['value="caption"']),
        ("/compare/sets/new/", ['value="caption"']),
        ("/revisions/2/", ["<b>caption</b>"]),
    ],
)
def test_pages_offer_it(path, shown, caption, client_for, administrator) -> None:
    declare("caption", "house_style", "noir", by=SYSTEM)
    html = client_for(administrator).get(path, follow=True).content.decode()
    assert [words for words in shown if words not in " ".join(html.split())] == []


def test_it_is_live_and_runs_with_its_own_values(caption, client_for, make_user) -> None:
    declare("caption", "house_style", "noir", by=SYSTEM)
    snapshot = live.load()
    assert snapshot.template_for("caption").body == "Name the clip."
    assert snapshot.filled("caption", "{{ house_style }}") == "noir"
    data = {"template": "clip", "what": "editor", "where": "chain", "input": "a fox", "body": "Name it.", "base": ""}
    plan = previews.plan_try(make_user("editor"), data, snapshot).previews[0].plan
    assert (plan.operation, plan.count, plan.hedge().delay_ms) == ("caption", 4, 50)
    assert snapshot.settings_for("caption").timeout_ms == 1500
    assert plan.request().max_tokens == 99
    assert plan.request().messages[0].content == "Name it.\n\nWrite exactly 4 alternatives, one a line."
    smoke = previews.plan_smoke(make_user("editor", "eve"), data, snapshot)
    assert [text for text, _ in smoke.rows] == ["a fox in snow\na fox sleeps"]
    assert Sample.objects.get().operation == "caption"
