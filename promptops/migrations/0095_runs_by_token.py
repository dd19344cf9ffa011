from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0094_leases")]

    operations = [
        migrations.AddIndex(
            "run",
            models.Index(fields=["token", "-id"], name="run_token", condition=models.Q(("token__isnull", False))),
        ),
    ]
