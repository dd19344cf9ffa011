from django.db import migrations, models

SECRETS_AND_COUNTERS = {"id", "enabled", "position", "changed_revision", "key_encrypted", "key_env"}
OF_SETTINGS = {"id", "revision", "settings_revision", "key_check"}


def keep_the_newest(apps, schema_editor):
    """What the newest release stands for is what is live now; of older ones it is not known any more."""
    get = lambda name: apps.get_model("promptops", name).objects.using(schema_editor.connection.alias)
    config, newest = get("LiveConfiguration").filter(pk=1).first(), get("Release").order_by("-revision").first()
    if newest is None or config is None or newest.revision != config.revision:
        return

    def fields(row, but):
        return {field.name: getattr(row, field.name) for field in row._meta.concrete_fields if field.name not in but}

    def key(provider):
        if provider.key_encrypted:
            return "stored key"
        return f"from {provider.key_env}" if provider.key_env else "no key"

    templates = get("Template").filter(live_version__isnull=False, archived_at=None)
    newest.configuration = {
        "templates": [
            {
                "name": template.name,
                "operation": template.operation,
                "default": template.is_default,
                "version": template.live_version.number,
                "version_id": template.live_version_id,
            }
            for template in templates.select_related("live_version").order_by("operation", "-is_default", "name")
        ],
        "providers": [
            {**fields(provider, SECRETS_AND_COUNTERS), "key": key(provider)}
            for provider in get("Provider").filter(enabled=True).order_by("position", "id")
        ],
        "settings": fields(config, OF_SETTINGS),
    }
    newest.save(update_fields=["configuration"])


class Migration(migrations.Migration):

    dependencies = [
        ('promptops', '0004_before_merges'),
    ]

    operations = [
        migrations.AddField(
            model_name='release',
            name='configuration',
            field=models.JSONField(help_text='What was live from this revision on, without texts and keys.', null=True),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(condition=models.Q(('revision__isnull', False)), fields=['revision'], name='audit_of_revision'),
        ),
        migrations.RunPython(keep_the_newest, migrations.RunPython.noop),
    ]
