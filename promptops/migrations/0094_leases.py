from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0092_levers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Lease',
            fields=[
                ('name', models.CharField(max_length=60, primary_key=True, serialize=False)),
                ('holder', models.CharField(max_length=160)),
                ('until', models.DateTimeField(help_text="By the database's clock.")),
            ],
        ),
    ]
