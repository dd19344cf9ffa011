import django.core.validators
import promptops.prompts.models.operations
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0057_run_totals")]

    operations = [
        migrations.CreateModel(
            name="Operation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "name",
                    models.CharField(
                        error_messages={"unique": "An operation of that name exists. Choose another name."},
                        max_length=20,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z][a-z0-9_]*\\Z",
                                "Use lower-case letters, digits and _ only, starting with a letter.",
                            )
                        ],
                    ),
                ),
                ("purpose", models.CharField(max_length=200)),
                (
                    "input",
                    models.CharField(
                        choices=[
                            ("text", "One text"),
                            ("list", "A list of prompts, one a line"),
                            ("fields", "Named fields"),
                        ],
                        default="text",
                        max_length=10,
                    ),
                ),
                (
                    "fields",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Of an input of fields: name, description, required, max_characters.",
                    ),
                ),
                ("input_label", models.CharField(blank=True, max_length=60)),
                ("input_heading", models.CharField(blank=True, max_length=60)),
                (
                    "answer",
                    models.JSONField(
                        default=promptops.prompts.models.operations.text_answer,
                        help_text="Its kind, and for lines their count.",
                    ),
                ),
                (
                    "timeout_ms",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(500),
                            django.core.validators.MaxValueValidator(600000),
                        ],
                        verbose_name="time limit of a run",
                    ),
                ),
                (
                    "max_tokens",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(32768),
                        ],
                    ),
                ),
                (
                    "hedge",
                    models.CharField(
                        blank=True,
                        help_text="When the next provider is called too: never, p95, or after that many milliseconds.",
                        max_length=6,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A(p95|[0-9]{1,5}|)\\Z", "Leave it empty, or give p95 or milliseconds up to 99999."
                            )
                        ],
                        verbose_name="hedging",
                    ),
                ),
                (
                    "retention_days",
                    models.PositiveIntegerField(
                        blank=True,
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(3650),
                        ],
                        verbose_name="keep the text of runs for",
                    ),
                ),
                (
                    "on_failure",
                    models.CharField(
                        choices=[
                            ("error", "An error"),
                            ("input", "The input goes on unchanged"),
                            ("hold", "An error that says to keep what runs"),
                        ],
                        default="error",
                        max_length=10,
                    ),
                ),
                ("keeps_system", models.BooleanField(default=False, help_text="A caller's own system text is kept.")),
                ("built_in", models.BooleanField(default=False)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                (
                    "changed_revision",
                    models.PositiveIntegerField(
                        default=0, help_text="The revision of the last change, which an edit must know to succeed."
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
    ]
