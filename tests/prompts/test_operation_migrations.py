"""The migrations that make operations rows, with data, forward and back."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from promptops.prompts.live_operations import built_in_operations

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE, AFTER = ("promptops", "0057_run_totals"), ("promptops", "0064_input_unchanged")


def migrate(target):
    executor = MigrationExecutor(connection)
    executor.migrate([target])
    return MigrationExecutor(connection).loader.project_state([target]).apps


def test_the_hedging_of_the_settings_becomes_the_operations_own_and_returns():
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("promptops")
    try:
        older = migrate(BEFORE)
        older.get_model("promptops", "LiveConfiguration").objects.update(hedge_enhance="p95", hedge_rewrite="250")
        newer = migrate(AFTER)
        run = {"source": "preview", "operation": "enhance", "temperature": 1, "max_tokens": 1, "latency_ms": 1}
        newer.get_model("promptops", "Run").objects.create(status="unchanged", revision=0, **run)
        operations = newer.get_model("promptops", "Operation").objects
        columns = ("purpose", "input", "input_label", "input_heading", "answer", "built_in")
        assert {row["name"]: {name: row[name] for name in columns} for row in operations.values()} == (
            built_in_operations()
        )
        hedges = list(operations.order_by("pk").values_list("name", "hedge"))
        assert hedges == [("enhance", "p95"), ("auto_extend", ""), ("rewrite", "250")]
        operations.filter(name="auto_extend").update(hedge="70")
        operations.create(name="caption", purpose="Names a clip.")
        older = migrate(BEFORE)
        assert older.get_model("promptops", "Run").objects.get().status == "failed"
        config = older.get_model("promptops", "LiveConfiguration").objects.get()
        assert (config.hedge_enhance, config.hedge_auto_extend, config.hedge_rewrite) == ("p95", "70", "250")
    finally:
        MigrationExecutor(connection).migrate(newest)
