from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("promptops", "0061_built_in_operations")]

    operations = [
        migrations.RemoveField("liveconfiguration", "hedge_enhance"),
        migrations.RemoveField("liveconfiguration", "hedge_auto_extend"),
        migrations.RemoveField("liveconfiguration", "hedge_rewrite"),
    ]
