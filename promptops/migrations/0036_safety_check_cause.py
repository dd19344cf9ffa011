from django.db import migrations, models


def derive_the_cause(apps, schema_editor):
    """By the layer and the sentence that were stored; where the sentence was erased, by the layer."""
    checks = apps.get_model("promptops", "SafetyCheck").objects.using(schema_editor.connection.alias)
    unjudged = checks.filter(decision="unavailable")
    unjudged.filter(layer="model").update(cause="language")
    unjudged.filter(layer="model", reason__startswith="No category").update(cause="down")
    unjudged.filter(layer="").update(cause="down")
    for sentence in ("The safety filter could not judge this text", "The safety filter could not be asked"):
        unjudged.filter(layer="", reason__startswith=sentence).update(cause="other")
    unjudged.filter(layer="", reason="").update(cause="other")


class Migration(migrations.Migration):
    dependencies = [("promptops", "0035_safety_two_choices")]

    operations = [
        migrations.AddField(
            model_name="safetycheck",
            name="cause",
            field=models.CharField(
                blank=True, default="", help_text="Why it was not judged: down, language or other.", max_length=10
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="safetycheck",
            name="language",
            field=models.CharField(
                blank=True, default="", help_text="In English; empty if it is unclear.", max_length=60
            ),
            preserve_default=False,
        ),
        migrations.RunPython(derive_the_cause, migrations.RunPython.noop),
    ]
