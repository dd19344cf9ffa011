"""Parts of addresses that Django has no converter for."""

from django.urls.converters import IntConverter


class NumberConverter(IntConverter):
    """A whole number that fits into the database; a longer one is not found."""

    regex = "[0-9]{1,18}"
