from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0084_servers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Acknowledgement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('revision', models.PositiveIntegerField()),
                ('server', models.CharField(max_length=100)),
                ('instance', models.CharField(max_length=64)),
                ('kind', models.CharField(choices=[('library', 'Library'), ('files', 'Files'), ('process', 'PromptOps')], max_length=10)),
                ('outcome', models.CharField(choices=[('applied', 'Applied'), ('refused', 'Refused'), ('drifted', 'Drifted')], max_length=10)),
                ('at', models.DateTimeField()),
                ('seconds', models.FloatField(help_text='After the release.')),
                ('was_away', models.BooleanField(default=False, help_text='It connected after the release.')),
                ('why', models.CharField(blank=True, max_length=500)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('revision', 'server', 'instance'), name='acknowledgement_of_instance')],
            },
        ),
    ]
