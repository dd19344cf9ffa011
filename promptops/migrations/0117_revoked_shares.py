from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("promptops", "0116_expected_languages"),
    ]

    operations = [
        migrations.AddField("shareddraft", "revoked_at", models.DateTimeField(blank=True, null=True)),
    ]
