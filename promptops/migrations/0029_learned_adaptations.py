import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0028_adaptations")]

    operations = [
        migrations.CreateModel(
            name="LearnedAdaptation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("model", models.CharField(help_text="The model that was asked for.", max_length=200)),
                ("name", models.CharField(max_length=40)),
                (
                    "words",
                    models.CharField(
                        blank=True, help_text="The provider's own, by which it was learned.", max_length=500
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "provider",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="learned",
                        to="promptops.provider",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.UniqueConstraint(fields=("provider", "model", "name"), name="learned_adaptation_unique")
                ],
            },
        ),
    ]
