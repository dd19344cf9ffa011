from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0067_contracts_of_runs")]

    operations = [
        migrations.AddField(
            "provider",
            "json_mode",
            models.CharField(
                blank=True,
                choices=[
                    ("none", "Nothing"),
                    ("object", "A JSON object"),
                    ("schema", "JSON that fits the schema"),
                ],
                default="",
                help_text="What the server is asked for beside a JSON contract; empty: the choice of its kind.",
                max_length=6,
                verbose_name="JSON answers",
            ),
        ),
    ]
