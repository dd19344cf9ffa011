from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of the few verdicts that wait for a review or have one, in place of indexes of all verdicts."""

    dependencies = [("promptops", "0047_sampling_settings")]

    operations = [
        migrations.RemoveIndex(model_name="safetycheck", name="safety_check_queue"),
        migrations.RemoveIndex(model_name="safetycheck", name="safety_check_of_model"),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                fields=["-id"],
                name="safety_check_waiting",
                condition=models.Q(("queue__gt", ""), ("review", "")),
            ),
        ),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                fields=["queue", "-id"],
                name="safety_check_queue",
                condition=models.Q(("queue__gt", ""), ("review", "")),
            ),
        ),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                fields=["model", "-id"],
                name="safety_check_reviewed",
                condition=models.Q(("review__gt", "")),
            ),
        ),
    ]
