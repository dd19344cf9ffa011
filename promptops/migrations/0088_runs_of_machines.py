from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0087_releases_for_pinned_sessions'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='public_id',
            field=models.UUIDField(blank=True, help_text='Its id in the answer to a machine, which does not wait until it is recorded.', null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='source',
            field=models.CharField(choices=[('preview', 'Preview'), ('test', 'Provider test'), ('comparison', 'Comparison'), ('api', 'Machine')], max_length=20),
        ),
        migrations.AlterField(
            model_name='runtotals',
            name='source',
            field=models.CharField(choices=[('preview', 'Preview'), ('test', 'Provider test'), ('comparison', 'Comparison'), ('api', 'Machine')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('public_id__isnull', False)), fields=['public_id'], name='run_public_id'),
        ),
    ]
