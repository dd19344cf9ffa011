from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0072_answer_rules")]

    operations = [
        migrations.AddField("run", "draft_answer_rules", models.TextField(blank=True, null=True)),
    ]
