from django.db import migrations


def _withheld_inputs(apps, schema_editor):
    """Runs with an input that was withheld because it could not be judged; nobody found it harmful."""
    alias = schema_editor.connection.alias
    checks = apps.get_model("promptops", "SafetyCheck").objects.using(alias)
    withheld = checks.filter(side="input", decision="unavailable", blocked=True)
    return apps.get_model("promptops", "Run").objects.using(alias).filter(pk__in=withheld.values("run"))


def unmask(apps, schema_editor):
    _withheld_inputs(apps, schema_editor).update(input_masked=False)


def mask(apps, schema_editor):
    _withheld_inputs(apps, schema_editor).update(input_masked=True)


class Migration(migrations.Migration):
    dependencies = [("promptops", "0036_safety_check_cause")]

    operations = [migrations.RunPython(unmask, mask)]
