"""The types of requests as our middleware leaves them; nothing but annotations."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from promptops.people.models import User


class AnyRequest(HttpRequest):
    """A request of anybody, also of people who are not signed in."""

    htmx: HtmxDetails


class Request(AnyRequest):
    """A request of a person who is signed in, as a view gets it from `access.requires`."""

    user: User
    heads: dict[str, int]
