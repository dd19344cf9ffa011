from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0074_contracts_of_deleted_runs")]

    operations = [
        migrations.AddIndex(
            "run",
            models.Index(
                fields=["contract", "-id"], name="run_contract", condition=models.Q(("contract__isnull", False))
            ),
        ),
        migrations.AddIndex(
            "run",
            models.Index(
                fields=["template", "version", "contract", "drill"],
                name="run_outcomes",
                condition=models.Q(("contract__isnull", False)),
            ),
        ),
    ]
