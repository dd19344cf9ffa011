from django.db import migrations


def accept_fewer(apps, schema_editor):
    """A rewrite has always handed on the alternatives that arrived, if any did."""
    operations = apps.get_model("promptops", "Operation").objects.using(schema_editor.connection.alias)
    for row in operations.filter(built_in=True):
        if row.answer["kind"] == "lines":
            row.answer = row.answer | {"at_least": 1}
            row.save(update_fields=["answer"])


def forget(apps, schema_editor):
    operations = apps.get_model("promptops", "Operation").objects.using(schema_editor.connection.alias)
    for row in operations.all():
        if row.answer.pop("at_least", None):
            row.save(update_fields=["answer"])


class Migration(migrations.Migration):
    dependencies = [("promptops", "0068_json_mode")]

    operations = [migrations.RunPython(accept_fewer, forget)]
