from django.db import migrations, models

import promptops.ledger.models.releases


class Migration(migrations.Migration):
    """Name the line of history that the database has. The one row that there is gets a random name."""

    dependencies = [("promptops", "0054_give_space_back")]

    operations = [
        migrations.AddField(
            model_name="liveconfiguration",
            name="epoch",
            field=models.CharField(
                default=promptops.ledger.models.releases.new_epoch,
                editable=False,
                help_text="Numbers are comparable only within one epoch.",
                max_length=32,
            ),
        ),
    ]
