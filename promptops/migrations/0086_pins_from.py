from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the newest revision that applies to pinned sessions too. None does so far."""

    dependencies = [("promptops", "0085_acknowledgements")]

    operations = [
        migrations.AddField(
            model_name="liveconfiguration",
            name="pins_from",
            field=models.PositiveIntegerField(
                default=0,
                editable=False,
                help_text="The newest revision of this epoch that applies to pinned sessions too.",
            ),
        ),
    ]
