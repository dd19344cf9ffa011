import django.core.validators
from django.db import migrations, models

VALIDATORS = [
    django.core.validators.MinValueValidator(100),
    django.core.validators.MaxValueValidator(600_000),
]


class Migration(migrations.Migration):
    dependencies = [("promptops", "0025_raw_answers")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="first_text_ms",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Milliseconds; None: no limit of its own.",
                null=True,
                validators=VALIDATORS,
                verbose_name="time to the first text",
            ),
        ),
        migrations.AddField(
            model_name="provider",
            name="stall_ms",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Milliseconds; None: no limit of its own.",
                null=True,
                validators=VALIDATORS,
                verbose_name="longest pause in an answer",
            ),
        ),
    ]
