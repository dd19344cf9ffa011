"""The migrations that make operations rows, with data, forward and back."""

import pytest

from promptops.prompts.live_operations import built_in_operations

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = "0057_run_totals", "0064_input_unchanged"


def test_the_hedging_of_the_settings_becomes_the_operations_own_and_returns(migrate):
    older = migrate(BEFORE)
    older.get_model("promptops", "LiveConfiguration").objects.update(hedge_enhance="p95", hedge_rewrite="250")
    newer = migrate(AFTER)
    run = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    newer.get_model("promptops", "Run").objects.create(status="unchanged", revision=0, **run)
    operations = newer.get_model("promptops", "Operation").objects
    built_in = built_in_operations()
    del built_in["rewrite"]["answer"]["at_least"]  # a later migration adds it
    columns = ("purpose", "input", "input_label", "input_heading", "answer", "built_in")
    assert {row["name"]: {name: row[name] for name in columns} for row in operations.values()} == built_in
    hedges = list(operations.order_by("pk").values_list("name", "hedge"))
    assert hedges == [("enhance", "p95"), ("auto_extend", ""), ("rewrite", "250")]
    operations.filter(name="auto_extend").update(hedge="70")
    operations.create(name="caption", purpose="Names a clip.")
    older = migrate(BEFORE)
    assert older.get_model("promptops", "Run").objects.get().status == "failed"
    config = older.get_model("promptops", "LiveConfiguration").objects.get()
    assert (config.hedge_enhance, config.hedge_auto_extend, config.hedge_rewrite) == ("p95", "70", "250")


def test_contracts_and_repairs_keep_what_is_stored_forward_and_back(migrate):
    answer = {"kind": "json", "schema": {"type": "object", "required": ["a"], "properties": {"bb": {}, "a": {}}}}
    run = {"source": "preview", "operation": "plan", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
    attempt = {"position": 1, "provider": "p1", "outcome": "succeeded", "started_ms": 0, "latency_ms": 1}
    older = migrate(AFTER)
    older.get_model("promptops", "Operation").objects.create(name="plan", purpose="Plans.", answer=answer)
    made = older.get_model("promptops", "Run").objects.create(status="succeeded", revision=0, **run)
    older.get_model("promptops", "Attempt").objects.create(run=made, **attempt)
    newer = migrate("0069_fewer_alternatives")
    operations = newer.get_model("promptops", "Operation").objects
    assert operations.get(name="plan").answer == answer
    assert newer.get_model("promptops", "Run").objects.get().contract is None
    assert newer.get_model("promptops", "Attempt").objects.get().repair is None
    built_in = {row.name: row.answer for row in operations.filter(built_in=True)}
    assert built_in == {name: row["answer"] for name, row in built_in_operations().items()}
    newer.get_model("promptops", "Run").objects.update(contract="repaired")
    older = migrate(AFTER)
    assert older.get_model("promptops", "Operation").objects.get(name="plan").answer == answer
    rewrite = older.get_model("promptops", "Operation").objects.get(name="rewrite")
    assert rewrite.answer == {"kind": "lines", "count": 3}
    assert older.get_model("promptops", "Attempt").objects.get().provider == "p1"
