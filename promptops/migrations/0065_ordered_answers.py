from django.db import migrations

import promptops.prompts.models.operations


class Migration(migrations.Migration):
    """The keys of a JSON Schema keep their order on PostgreSQL, too."""

    dependencies = [("promptops", "0064_input_unchanged")]

    operations = [
        migrations.AlterField(
            "operation",
            "answer",
            promptops.prompts.models.operations.OrderedJSONField(
                default=promptops.prompts.models.operations.text_answer,
                help_text="The contract: `Contract.to_data()` of the engine.",
            ),
        ),
    ]
