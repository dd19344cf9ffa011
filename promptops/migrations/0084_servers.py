import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0082_idempotent_answers'),
    ]

    operations = [
        migrations.CreateModel(
            name='Server',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('instance', models.CharField(help_text='Names one life of the process.', max_length=64)),
                ('kind', models.CharField(choices=[('library', 'Library'), ('files', 'Files'), ('process', 'PromptOps')], max_length=10)),
                ('version', models.CharField(blank=True, max_length=50)),
                ('labels', models.JSONField(default=dict)),
                ('address', models.CharField(blank=True, max_length=64)),
                ('token', models.PositiveBigIntegerField(help_text='The id of the token; null for PromptOps itself.', null=True)),
                ('first_heard_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('connected_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('heard_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('is_connected', models.BooleanField(default=True)),
                ('revision', models.PositiveIntegerField(null=True)),
                ('epoch', models.CharField(blank=True, max_length=32)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('since', models.DateTimeField(help_text='When it began to run this content.', null=True)),
                ('has_other_content', models.BooleanField(default=False, help_text='Its hash is not that of its revision.')),
                ('state', models.CharField(choices=[('ready', 'Ready'), ('stale', 'Stale'), ('offline', 'Offline'), ('refused', 'Refused')], max_length=10)),
                ('refused_revision', models.PositiveIntegerField(null=True)),
                ('refused_at', models.DateTimeField(null=True)),
                ('refusal', models.CharField(blank=True, max_length=500)),
                ('drift', models.CharField(blank=True, max_length=500)),
                ('drifted_at', models.DateTimeField(null=True)),
                ('runs_a_minute', models.FloatField(null=True)),
                ('is_filtered', models.BooleanField(default=False, help_text='It judges texts with the safety filter.')),
                ('changed_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, help_text='Heartbeats leave it.')),
            ],
            options={
                'ordering': ['name', 'pk'],
                'constraints': [models.UniqueConstraint(fields=('name', 'instance'), name='server_instance')],
            },
        ),
    ]
