import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0071_texts_of_draft_runs'),
    ]

    operations = [
        migrations.CreateModel(
            name='Token',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=40, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._-]{0,39}\\Z', 'Use up to 40 letters, digits and . _ - for the name of a token, and begin with a letter or digit.')])),
                ('token_sha256', models.CharField(max_length=64, unique=True)),
                ('scopes', models.JSONField()),
                ('server', models.CharField(blank=True, help_text='The only server that may use the token; empty for any.', max_length=60, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9._:-]{0,59}\\Z', 'Use up to 60 letters, digits and . _ : - for the name of a server, and begin with a letter or digit.')])),
                ('made_by_name', models.CharField(max_length=100)),
                ('made_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('changed_in', models.PositiveBigIntegerField(db_index=True, default=0, help_text='The audit entry of its last change; processes watch the newest one.')),
                ('made_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tokens', to=settings.AUTH_USER_MODEL)),
                ('replaces', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='promptops.token')),
            ],
        ),
    ]
