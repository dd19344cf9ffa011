from django.db import migrations, models


class Migration(migrations.Migration):
    """Choices are no part of a column, so no table changes."""

    dependencies = [("promptops", "0062_hedging_of_operations")]

    operations = [
        migrations.AlterField(model, "operation", models.CharField(max_length=20))
        for model in ("comparison", "run", "sample", "template", "variable")
    ]
