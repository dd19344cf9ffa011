from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("promptops", "0071_texts_of_draft_runs")]

    operations = [
        migrations.AddField("arm", "answer_rules", models.TextField(blank=True, max_length=262144, null=True)),
        migrations.AddField("discardeddraft", "answer_rules", models.TextField(blank=True, max_length=262144, null=True)),
        migrations.AddField("draft", "answer_rules", models.TextField(blank=True, max_length=262144, null=True)),
        migrations.AddField("version", "answer_rules", models.TextField(blank=True, max_length=262144, null=True)),
    ]
