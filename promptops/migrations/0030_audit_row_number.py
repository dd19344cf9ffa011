import logging

from django.db import migrations

import promptops.ledger.models.audit
from promptops.ledger.models import audit_triggers


log = logging.getLogger("promptops")


def install(apps, schema_editor):
    audit_triggers.install(schema_editor.connection)


def remove(apps, schema_editor):
    audit_triggers.remove(schema_editor.connection)


def remove_and_report(apps, schema_editor):
    """Report what is missing before it is put back, which would hide that the audit could be changed."""
    if missing := audit_triggers.missing(schema_editor.connection, always=False):
        log.warning(
            "Before this upgrade the database's triggers that keep the audit from being changed were missing (%s). "
            "They are back. Find out who took them away, and check the entries with `manage.py audit_verify --pin …`.",
            ", ".join(missing),
        )
    remove(apps, schema_editor)


class Migration(migrations.Migration):
    """Make `seq` SQLite's rowid. On PostgreSQL the column stays as it is and the triggers become ENABLE ALWAYS.

    SQLite copies the table. The triggers name it, so they are dropped first and put back last, in either direction.
    """

    dependencies = [("promptops", "0029_learned_adaptations")]

    operations = [
        migrations.RunPython(remove_and_report, install),
        migrations.AlterField(
            model_name="auditentry",
            name="seq",
            field=promptops.ledger.models.audit.EntryNumberField(primary_key=True, serialize=False),
        ),
        migrations.RunPython(install, remove),
    ]
