from django.db import migrations, models


class Migration(migrations.Migration):
    """The threshold that the score of the second stage is a share of, so that other thresholds can be replayed."""

    dependencies = [("promptops", "0118_stage_disagreement")]

    operations = [
        migrations.AddField(
            model_name="safetycheck",
            name="second_threshold",
            field=models.FloatField(
                blank=True,
                help_text="The threshold that `second_score` is a share of; null in older verdicts.",
                null=True,
            ),
        ),
    ]
