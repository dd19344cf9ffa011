from django.db import migrations, models


class Migration(migrations.Migration):
    """Without a default, so that SQLite adds the column and does not copy the table."""

    dependencies = [("promptops", "0066_repairs")]

    operations = [
        migrations.AddField(
            "run",
            "contract",
            models.CharField(
                blank=True,
                choices=[
                    ("at_once", "Answered at once"),
                    ("fell_back", "Answered after a fallback"),
                    ("repaired", "Repaired"),
                    ("breached", "Breached"),
                ],
                help_text="How the run met its answer's contract; None if nothing was checked.",
                max_length=10,
                null=True,
            ),
        ),
    ]
