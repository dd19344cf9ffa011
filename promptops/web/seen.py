"""Tell an open form that the object it was loaded from has changed."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def changed(request: HttpRequest, what: str, number: int | None, *, event: str = "revision") -> HttpResponse:
    """Return the notice that somebody changed `what`, or removed it (`number` is None), since the form was loaded.

    `number` counts the changes. The notice is empty while it is the number that the page has seen. `event` makes the
    page ask again.
    """
    seen = request.GET["seen"]
    sentence = "" if seen == str(number) else f"Someone {'removed' if number is None else 'changed'} {what}."
    return render(request, "_changed.html", {"seen": seen, "changed": sentence, "gone": number is None, "event": event})
