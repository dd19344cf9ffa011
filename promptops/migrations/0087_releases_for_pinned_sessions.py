from django.db import migrations, models


class Migration(migrations.Migration):
    """Add to each release whether it applies to pinned sessions too."""

    dependencies = [("promptops", "0086_pins_from")]

    operations = [
        migrations.AddField(
            model_name="release",
            name="overrides_pins",
            field=models.BooleanField(default=False, help_text="It applies to pinned sessions too."),
        ),
    ]
