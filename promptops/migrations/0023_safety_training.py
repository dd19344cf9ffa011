import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

STATES = [
    ("running", "Running"),
    ("kept", "Kept"),
    ("same", "Same model"),
    ("refused", "Refused"),
    ("failed", "Failed"),
    ("canceled", "Canceled"),
]


class Migration(migrations.Migration):
    dependencies = [("promptops", "0022_ballot_index")]

    operations = [
        migrations.CreateModel(
            name="SafetyTraining",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(choices=STATES, default="running", max_length=10)),
                (
                    "step",
                    models.CharField(blank=True, help_text="One of `engine.safety.training.Step`.", max_length=20),
                ),
                ("said", models.TextField(blank=True)),
                ("thresholds", models.JSONField(blank=True, default=dict)),
                ("user_name", models.CharField(max_length=100)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="promptops.safetymodelversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(state="running"),
                        fields=("state",),
                        name="safety_training_one_at_a_time",
                    )
                ],
            },
        ),
    ]
