from django.db import migrations, models


class Migration(migrations.Migration):
    """Without a default, so that SQLite adds the column and does not copy the table."""

    dependencies = [("promptops", "0065_ordered_answers")]

    operations = [
        migrations.AddField(
            "attempt",
            "repair",
            models.BooleanField(
                help_text="It was sent a wrong answer and what is wrong with it. None: recorded before repairs.",
                null=True,
            ),
        ),
    ]
