import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLE = "promptops_run"
ALONE = ("template_id", "user_id", "revision")
"""The columns that had an index of their own. An index of the column and the number takes its place."""


def drop(apps, schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, TABLE)
    for name, each in constraints.items():
        if each["index"] and each["columns"] in [[column] for column in ALONE]:
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")


def create(apps, schema_editor):
    for column in ALONE:
        schema_editor.execute(f"CREATE INDEX {TABLE}_{column}_alone ON {TABLE} ({column})")


class Migration(migrations.Migration):
    """Find the runs of each filter of the list in the order of the list.

    The old indexes are dropped by hand, because AlterField would copy the whole table on SQLite.
    """

    dependencies = [
        ("promptops", "0051_calls_and_verdicts_by_run"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(drop, create)],
            state_operations=[
                migrations.AlterField("run", "revision", models.PositiveIntegerField()),
                migrations.AlterField(
                    "run",
                    "template",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="promptops.template",
                    ),
                ),
                migrations.AlterField(
                    "run",
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        *(
            migrations.AddIndex("run", models.Index(fields=[name, "-id"], name=f"run_{name}"))
            for name in ("template", "user", "revision", "operation", "status", "source")
        ),
        migrations.AddIndex(
            "run",
            models.Index(
                fields=["-id"],
                name="run_masked",
                condition=models.Q(("input_masked", True), ("output_masked", True), _connector="OR"),
            ),
        ),
    ]
