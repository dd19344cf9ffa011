from django.db import migrations, models
from django.db.models.functions import Abs

WAITS = models.Q(queue__gt="", review="")
REVIEWED = models.Q(review__gt="")
SAME = models.Q(score__gte=1, second_score__gte=1) | models.Q(score__lt=1, second_score__lt=1)


def fill(apps, schema_editor):
    """Set the disagreement of the verdicts in the queues, each found with an index, from the scores of both stages."""
    checks = apps.get_model("promptops", "SafetyCheck").objects.using(schema_editor.connection.alias)
    for condition in (WAITS, REVIEWED):
        both = checks.filter(condition, score__isnull=False, second_score__isnull=False)
        apart = Abs(models.F("score") - models.F("second_score"))
        both.update(disagreement=models.Case(models.When(SAME, then=0.0), default=apart))


class Migration(migrations.Migration):
    """The order of the review queue by disagreement of the stages, and its indexes."""

    dependencies = [("promptops", "0117_revoked_shares")]

    operations = [
        migrations.AddField(
            model_name="safetycheck",
            name="disagreement",
            field=models.FloatField(
                blank=True,
                help_text=(
                    "Between `score` and `second_score` if one blocks and one allows, else 0; None unless both are set."
                ),
                null=True,
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(condition=WAITS, fields=["-disagreement", "-id"], name="safety_check_disagreement"),
        ),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                condition=WAITS, fields=["queue", "-disagreement", "-id"], name="safety_check_queue_disagree"
            ),
        ),
    ]
