from django.db import migrations, models
from django.db.models import F, Q

CHOICES = [("block", "Block it (fail closed)"), ("allow", "Let it pass (fail open)")]


def copy_the_choice(apps, schema_editor):
    settings = apps.get_model("promptops", "SafetySettings").objects.using(schema_editor.connection.alias)
    settings.update(when_down=F("when_unavailable"), when_language=F("when_unavailable"))


def take_the_stricter(apps, schema_editor):
    settings = apps.get_model("promptops", "SafetySettings").objects.using(schema_editor.connection.alias)
    settings.update(when_unavailable="block")
    settings.filter(Q(when_down="allow"), Q(when_language="allow")).update(when_unavailable="allow")


class Migration(migrations.Migration):
    dependencies = [("promptops", "0030_audit_row_number")]

    operations = [
        migrations.AddField(
            model_name="safetysettings",
            name="when_down",
            field=models.CharField(
                choices=CHOICES,
                default="block",
                help_text="What becomes of a text that a failing filter cannot judge, where it is enforced.",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="safetysettings",
            name="when_language",
            field=models.CharField(
                choices=CHOICES,
                default="block",
                help_text=(
                    "What becomes of a text in a language that the model does not know, where the filter is enforced."
                ),
                max_length=10,
            ),
        ),
        migrations.RunPython(copy_the_choice, take_the_stricter),
        migrations.RemoveField(model_name="safetysettings", name="when_unavailable"),
    ]
