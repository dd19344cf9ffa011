from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0024_safety_terms_revision")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="raw",
            field=models.TextField(
                blank=True,
                default="",
                help_text="The answer as the model wrote it, only where it differs from output.",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="run",
            name="raw_masked",
            field=models.BooleanField(
                default=False, help_text="The answer as written is masked; output need not be."
            ),
        ),
    ]
