from django.db import migrations, models


class Migration(migrations.Migration):
    """Find the runs that called a provider, and those with a verdict other than "allow", in the order of runs."""

    dependencies = [("promptops", "0050_erased_leave_the_queue")]

    operations = [
        migrations.RemoveIndex(model_name="attempt", name="attempt_provider_newest"),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(fields=["provider", "-run", "-position"], name="attempt_provider_newest"),
        ),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                fields=["decision", "-run", "cause"],
                name="safety_check_decision",
                condition=models.Q(("decision__gt", "allow")),
            ),
        ),
    ]
