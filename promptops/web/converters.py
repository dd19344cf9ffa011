"""Path converters that Django does not have."""

from django.urls.converters import IntConverter


class NumberConverter(IntConverter):
    """A whole number that fits into the database. An address with a longer one is not found."""

    regex = "[0-9]{1,18}"
