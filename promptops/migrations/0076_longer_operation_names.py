from django.core.validators import RegexValidator
from django.db import migrations, models

MODELS = ("comparison", "run", "runtotals", "sample", "template", "variable")


class AlterLength(migrations.AlterField):
    """Alter how long a text may be. SQLite limits no length, so its tables, which hold all runs, are not copied."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        if schema_editor.connection.vendor != "sqlite":
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    """Let names of operations have 40 characters. PostgreSQL widens a column without writing the table again."""

    dependencies = [("promptops", "0075_contract_indexes")]

    operations = [
        *(AlterLength(model, "operation", models.CharField(max_length=40)) for model in MODELS),
        AlterLength(
            "operation",
            "name",
            models.CharField(
                error_messages={"unique": "An operation of that name exists. Choose another name."},
                max_length=40,
                unique=True,
                validators=[
                    RegexValidator(
                        r"\A[a-z][a-z0-9_]*\Z", "Use lower-case letters, digits and _ only, starting with a letter."
                    )
                ],
            ),
        ),
    ]
