from django.db import migrations, models

STATUSES = [
    ("succeeded", "Succeeded"),
    ("failed", "Failed"),
    ("canceled", "Canceled"),
    ("blocked", "Blocked"),
    ("unchanged", "Input unchanged"),
]


class Migration(migrations.Migration):
    """Choices are no part of a column, so no table changes."""

    dependencies = [("promptops", "0063_operations_without_choices")]

    operations = [
        migrations.AlterField("attempt", "outcome", models.CharField(choices=STATUSES, max_length=20)),
        migrations.AlterField("run", "status", models.CharField(choices=STATUSES, max_length=20)),
    ]
