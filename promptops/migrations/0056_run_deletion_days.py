import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("promptops", "0055_epoch"),
    ]

    operations = [
        migrations.AddField(
            model_name="liveconfiguration",
            name="run_deletion_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Days; None never deletes a run.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(3650),
                ],
                verbose_name="delete runs after",
            ),
        ),
    ]
