from django.db import migrations, models
from django.db.models import F


def assume_the_last_change(apps, schema_editor):
    settings = apps.get_model("promptops", "SafetySettings").objects.using(schema_editor.connection.alias)
    settings.update(terms_revision=F("changed_revision"))


class Migration(migrations.Migration):
    dependencies = [("promptops", "0023_safety_training")]

    operations = [
        migrations.AddField(
            model_name="safetysettings",
            name="terms_revision",
            field=models.PositiveIntegerField(
                default=0,
                help_text="The revision that last changed terms: runs of older ones were judged by others.",
            ),
        ),
        migrations.RunPython(assume_the_last_change, migrations.RunPython.noop),
    ]
