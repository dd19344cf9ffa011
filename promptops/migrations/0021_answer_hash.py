"""Answers that were given already get their hash, as new ones do (`Run.answer_hash`)."""

from hashlib import sha256

from django.db import migrations, models


def hash_answers(apps, schema_editor):
    Trial = apps.get_model("promptops", "Trial")
    votable = Trial.objects.filter(
        state="succeeded", run__erased_at=None, run__input_masked=False, run__output_masked=False
    )
    batch = []
    for trial in votable.select_related("run").only("run__output").order_by("pk").iterator(chunk_size=500):
        digest = sha256(trial.run.output.encode()).digest()
        trial.answer_hash = int.from_bytes(digest[:8], signed=True)
        batch.append(trial)
        if len(batch) == 500:
            Trial.objects.bulk_update(batch, ["answer_hash"])
            batch.clear()
    Trial.objects.bulk_update(batch, ["answer_hash"])


class Migration(migrations.Migration):
    dependencies = [("promptops", "0019_discarded_drafts")]

    operations = [
        migrations.AddField(
            model_name="trial",
            name="answer_hash",
            field=models.BigIntegerField(
                blank=True,
                help_text="Tells answers apart without reading them; None where there is none to vote on.",
                null=True,
            ),
        ),
        migrations.RunPython(hash_answers, migrations.RunPython.noop, elidable=True),
    ]
