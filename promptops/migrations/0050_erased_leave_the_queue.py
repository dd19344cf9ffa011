from django.db import migrations


def leave(apps, schema_editor):
    """Take the verdicts on erased texts out of the review queue. No page has shown them there."""
    checks = apps.get_model("promptops", "SafetyCheck").objects
    checks.filter(review="", queue__gt="", run__erased_at__isnull=False).update(queue="")


class Migration(migrations.Migration):
    dependencies = [("promptops", "0049_waiting_verdicts")]

    operations = [migrations.RunPython(leave, migrations.RunPython.noop, elidable=True)]
