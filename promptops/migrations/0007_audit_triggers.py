from django.db import migrations

from promptops.ledger.models import audit_triggers


def install(apps, schema_editor):
    audit_triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    audit_triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0006_audit_indexes'),
    ]

    operations = [
        migrations.RunPython(install, remove),
    ]
