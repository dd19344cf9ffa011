from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0021_answer_hash")]

    operations = [
        migrations.AddIndex(
            model_name="trial",
            index=models.Index(
                condition=models.Q(("answer_hash__isnull", False)),
                fields=["comparison", "input", "repeat", "answer_hash", "arm"],
                name="trial_ballots",
            ),
        ),
    ]
