"""An operation that is registered as data is offered everywhere, with no other file changed."""

from collections.abc import Iterator

import pytest

from promptops.engine import operations
from promptops.engine.operations import OperationSpec, register_operation
from promptops.ledger.audit import SYSTEM
from promptops.ledger.models import LiveConfiguration
from promptops.live import snapshots as live
from promptops.prompts.actions.samples import pin
from promptops.prompts.actions.variables import declare
from promptops.prompts.models import Sample, Template
from promptops.runs import previews
from promptops.site.forms import SettingsForm

CAPTION = OperationSpec(
    name="caption",
    purpose="Names a clip.",
    default_text="Name the clip.",
    samples=("a fox in snow\na fox sleeps",),
    input_label="Prompts of the clip, one per line",
    input_heading="Prompts of the clip",
    input_is_list=True,
    answer="lines",
    count=4,
    keeps_subject=False,
)


@pytest.fixture
def caption(publish) -> Iterator[Template]:
    """Publish a template of an operation that is not built in."""
    register_operation(CAPTION)
    yield publish("clip", "Name the clip.", operation="caption").template
    del operations._specs[CAPTION.name]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", ['id="operation-caption"', "template clip"]),
        ("/prompts/new", ['value="caption"']),
        ("/prompts/clip", ["Prompts of the clip, one per line", 'rows="4"', 'max="10" value="4"', "a fox in snow"]),
        ("/compare/new", ['href="?operation=caption"']),
        ("/compare/new/?operation=caption", ['name="operation" value="caption"', 'value="4"']),
        ("/variables", ['id="caption-title"', "house_style"]),
        ("/variables/new", ['value="caption"']),
        ("/runs", ['value="caption"']),
        ("/compare/sets/new/", ['value="caption"']),
        ("/settings", ["hedge_enhance"]),
        ("/revisions/1/", ["<b>caption</b>"]),
    ],
)
def test_pages_offer_it(path, shown, caption, client_for, administrator) -> None:
    declare("caption", "house_style", "noir", by=SYSTEM)
    html = client_for(administrator).get(path, follow=True).content.decode()
    assert [words for words in shown if words not in html] == []


def test_it_is_live_and_runs_with_its_own_default_number_of_alternatives(caption, client_for, make_user) -> None:
    declare("caption", "house_style", "noir", by=SYSTEM)
    snapshot = live.load()
    assert snapshot.template_for("caption").body == "Name the clip."
    assert snapshot.filled("caption", "{{ house_style }}") == "noir"
    data = {"template": "clip", "what": "editor", "where": "chain", "input": "a fox", "body": "Name it.", "base": ""}
    plan = previews.plan_try(make_user("editor"), data, snapshot).plan
    assert (plan.operation, plan.count, plan.hedge()) == ("caption", 4, None)
    assert plan.request().messages[0].content == "Name it.\n\nWrite exactly 4 alternatives, one a line."
    smoke = previews.plan_smoke(make_user("editor", "eve"), data, snapshot)
    assert [text for text, _ in smoke.rows] == list(CAPTION.samples)
    pin("caption", "two foxes", by=SYSTEM)
    assert Sample.objects.get().operation == "caption"


def test_the_hedging_of_each_operation_that_has_a_field_is_on_the_form(db) -> None:
    form = SettingsForm(LiveConfiguration.objects.get(pk=1))
    assert [name for name in form.fields if name.startswith("hedge_")] == [
        "hedge_enhance",
        "hedge_auto_extend",
        "hedge_rewrite",
    ]
    assert list(form.fields)[-1] == "expected"
