from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0027_fall_back_by_default")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="adaptations",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Names of engine.providers.adaptations: what requests to this server leave out or rename.",
            ),
        ),
    ]
