import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0088_runs_of_machines'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReportBatch',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('at', models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['-at'],
            },
        ),
        migrations.CreateModel(
            name='ReportedRuns',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField()),
                ('server', models.CharField(max_length=100)),
                ('operation', models.CharField(blank=True, max_length=40)),
                ('template', models.CharField(blank=True, max_length=100)),
                ('version', models.PositiveIntegerField(default=0)),
                ('status', models.CharField(blank=True, choices=[('succeeded', 'Succeeded'), ('failed', 'Failed'), ('canceled', 'Canceled'), ('blocked', 'Blocked'), ('unchanged', 'Input unchanged')], max_length=20)),
                ('runs', models.PositiveBigIntegerField(default=0)),
                ('fallbacks', models.PositiveBigIntegerField(default=0)),
                ('attempts', models.PositiveBigIntegerField(default=0)),
                ('latencies', models.JSONField(default=dict)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddIndex(
            model_name='reportedruns',
            index=models.Index(fields=['template', 'hour'], name='reported_runs_template'),
        ),
        migrations.AddConstraint(
            model_name='reportedruns',
            constraint=models.UniqueConstraint(fields=('hour', 'server', 'operation', 'template', 'version', 'status'), name='reported_runs_alike'),
        ),
    ]
