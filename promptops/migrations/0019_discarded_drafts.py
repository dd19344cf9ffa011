from django.db import migrations


def keep_the_newest(apps, schema_editor):
    """On the way back there is room for one of each person and template."""
    kept = apps.get_model("promptops", "DiscardedDraft")
    seen = set()
    for pk, *whose in kept.objects.order_by("-pk").values_list("pk", "template", "user"):
        if tuple(whose) in seen:
            kept.objects.filter(pk=pk).delete()
        seen.add(tuple(whose))


class Migration(migrations.Migration):
    dependencies = [("promptops", "0018_release_comparison")]

    operations = [
        migrations.RemoveConstraint(model_name="discardeddraft", name="discarded_draft_one_per_person"),
        migrations.AlterModelOptions(name="discardeddraft", options={"ordering": ["-pk"]}),
        migrations.RunPython(migrations.RunPython.noop, keep_the_newest),
    ]
