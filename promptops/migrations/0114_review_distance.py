from math import log

from django.db import migrations, models

WAITS = models.Q(queue__gt="", review="")
BATCH = 1_000


def _log_odds(share):
    share = min(max(share, 1e-9), 1 - 1e-9)
    return log(share / (1 - share))


def fill(apps, schema_editor):
    """Set the distance of the verdicts that wait: that of their leading category, whose threshold follows from `score`."""
    checks = apps.get_model("promptops", "SafetyCheck").objects.filter(WAITS, score__gt=0).order_by("id")
    table = schema_editor.quote_name("promptops_safetycheck")
    newest = 0
    while rows := list(checks.filter(pk__gt=newest).values_list("pk", "scores", "category", "score")[:BATCH]):
        newest = rows[-1][0]
        distances = []
        for pk, scores, category, share in rows:
            leading = scores.get(category) or max(scores.values(), default=0)
            if leading:
                distances.append((abs(_log_odds(leading) - _log_odds(leading / share)), pk))
        with schema_editor.connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {table} SET distance = %s WHERE id = %s", distances)  # noqa: S608


class Migration(migrations.Migration):
    """The order of the review queue: the distance of each waiting verdict to the nearest threshold, and its indexes."""

    dependencies = [("promptops", "0112_second_stage")]

    operations = [
        migrations.AddField(
            model_name="safetycheck",
            name="distance",
            field=models.FloatField(
                blank=True,
                help_text="In log-odds, to the nearest threshold at which the verdict changes; None without scores.",
                null=True,
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(condition=WAITS, fields=["distance", "-id"], name="safety_check_distance"),
        ),
        migrations.AddIndex(
            model_name="safetycheck",
            index=models.Index(
                condition=WAITS, fields=["queue", "distance", "-id"], name="safety_check_queue_distance"
            ),
        ),
    ]
