from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0069_fewer_alternatives'),
    ]

    operations = [
        migrations.AddField(
            model_name='arm',
            name='examples',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='arm',
            name='user_template',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='discardeddraft',
            name='examples',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='discardeddraft',
            name='user_template',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='draft',
            name='examples',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='draft',
            name='user_template',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='version',
            name='examples',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
        migrations.AddField(
            model_name='version',
            name='user_template',
            field=models.TextField(blank=True, max_length=262144, null=True),
        ),
    ]
