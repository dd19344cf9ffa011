"""The migrations describe the models, from zero on; tests/services/test_upgrade.py does old databases."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_the_migrations_lead_to_the_models():
    """The test's own database was migrated from zero."""
    call_command("migrate", check_unapplied=True, verbosity=0)
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
