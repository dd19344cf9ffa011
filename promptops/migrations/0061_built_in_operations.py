from django.db import migrations

# As the code declared them until now.
BUILT_IN = {
    "enhance": {
        "purpose": "Polishes what a viewer typed before it reaches the video model.",
        "input": "text",
        "answer": {"kind": "text"},
    },
    "auto_extend": {
        "purpose": "Invents the next prompt from the ones that came before.",
        "input": "list",
        "input_label": "Prior prompts, one per line",
        "input_heading": "Prompts so far",
        "answer": {"kind": "text"},
    },
    "rewrite": {
        "purpose": "Offers alternatives to a prompt.",
        "input": "text",
        "answer": {"kind": "lines", "count": 3},
    },
}


def add_rows(apps, schema_editor):
    """Add the built-in operations, each with the hedging that the settings have for it."""
    alias = schema_editor.connection.alias
    rows = apps.get_model("promptops", "Operation").objects.using(alias)
    config = apps.get_model("promptops", "LiveConfiguration").objects.using(alias).filter(pk=1).first()
    for name, facts in BUILT_IN.items():
        hedge = getattr(config, f"hedge_{name}") if config else ""
        rows.update_or_create(name=name, defaults=facts | {"hedge": hedge, "built_in": True})


def keep_hedging(apps, schema_editor):
    """Give the hedging of the built-in operations back to the settings. Other operations are lost with their table."""
    alias = schema_editor.connection.alias
    rows = apps.get_model("promptops", "Operation").objects.using(alias)
    config = apps.get_model("promptops", "LiveConfiguration").objects.using(alias).filter(pk=1)
    hedges = dict(rows.filter(name__in=BUILT_IN).values_list("name", "hedge"))
    config.update(**{f"hedge_{name}": hedge for name, hedge in hedges.items()})


class Migration(migrations.Migration):
    dependencies = [("promptops", "0060_operations")]

    operations = [migrations.RunPython(add_rows, keep_hedging)]
