"""The types of requests after our middleware; annotations only."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from promptops.live.polling import Heads
from promptops.people.models import User


class AnyRequest(HttpRequest):
    """A request of anybody, signed in or not."""

    htmx: HtmxDetails


class Request(AnyRequest):
    """A request of a signed-in person, as a view gets it from `access.requires`."""

    user: User
    heads: Heads
