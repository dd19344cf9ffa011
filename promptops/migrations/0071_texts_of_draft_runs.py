from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0070_content_texts'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='draft_examples',
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='draft_user_template',
            field=models.TextField(blank=True, null=True),
        ),
    ]
