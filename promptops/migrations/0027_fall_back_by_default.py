"""Providers that are there already keep what they do; new ones fall back."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0026_stream_limits")]

    operations = [
        migrations.AddField(
            model_name="provider",
            name="fall_back_on_refused",
            field=models.BooleanField(default=False, verbose_name="fall back when the model declines"),
        ),
        migrations.AlterField(
            model_name="provider",
            name="fall_back_on_refused",
            field=models.BooleanField(default=True, verbose_name="fall back when the model declines"),
        ),
        migrations.AlterField(
            model_name="provider",
            name="fall_back_on_auth",
            field=models.BooleanField(default=True, verbose_name="fall back when the key is refused"),
        ),
    ]
