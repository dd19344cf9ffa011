from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0073_answer_rules_of_draft_runs")]

    operations = [
        migrations.AddField("runtotals", "at_once", models.PositiveIntegerField(default=0)),
        migrations.AddField("runtotals", "fell_back", models.PositiveIntegerField(default=0)),
        migrations.AddField("runtotals", "repaired", models.PositiveIntegerField(default=0)),
        migrations.AddField("runtotals", "breached", models.PositiveIntegerField(default=0)),
        migrations.AddIndex(
            "runtotals", models.Index(fields=["template", "version"], name="run_totals_template")
        ),
    ]
