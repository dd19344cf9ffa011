from django.db import migrations, models

STATUSES = [
    ("succeeded", "Succeeded"),
    ("failed", "Failed"),
    ("canceled", "Canceled"),
    ("blocked", "Blocked"),
    ("unchanged", "Input unchanged"),
]


def back_to_failed(apps, schema_editor):
    """Older code does not know the new status. Nobody answered these runs, so they failed."""
    runs = apps.get_model("promptops", "Run").objects.using(schema_editor.connection.alias)
    runs.filter(status="unchanged").update(status="failed")


class Migration(migrations.Migration):
    """Choices are no part of a column, so no table changes on the way forward."""

    dependencies = [("promptops", "0063_operations_without_choices")]

    operations = [
        migrations.AlterField("attempt", "outcome", models.CharField(choices=STATUSES, max_length=20)),
        migrations.AlterField("run", "status", models.CharField(choices=STATUSES, max_length=20)),
        migrations.AlterField("runtotals", "status", models.CharField(choices=STATUSES, max_length=20)),
        migrations.RunPython(migrations.RunPython.noop, back_to_failed),
    ]
