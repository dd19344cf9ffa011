from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0017_measures")]

    operations = [
        migrations.AddField(
            model_name="release",
            name="comparison",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=models.deletion.PROTECT,
                related_name="releases",
                to="promptops.comparison",
            ),
        ),
        migrations.AddField(
            model_name="release",
            name="evidence",
            field=models.JSONField(blank=True, help_text="What the comparison said at that moment.", null=True),
        ),
    ]
