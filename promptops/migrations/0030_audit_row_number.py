from django.db import migrations

import promptops.models.audit
from promptops.models import audit_triggers


def install(apps, schema_editor):
    audit_triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    audit_triggers.remove(schema_editor.connection)


class Migration(migrations.Migration):
    """Make `seq` SQLite's rowid. On PostgreSQL the column stays as it is and the triggers become ENABLE ALWAYS.

    SQLite copies the table. The triggers name it, so they are dropped first and put back last, in either direction.
    """

    dependencies = [("promptops", "0024_safety_terms_revision")]

    operations = [
        migrations.RunPython(remove, install),
        migrations.AlterField(
            model_name="auditentry",
            name="seq",
            field=promptops.models.audit.EntryNumberField(primary_key=True, serialize=False),
        ),
        migrations.RunPython(install, remove),
    ]
