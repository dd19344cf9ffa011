"""Whether what an open form was filled from is still as it was."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def changed(request: HttpRequest, what: str, number: int | None, *, event: str = "revision") -> HttpResponse:
    """What the page of the form tells: that somebody changed `what`, or removed it (`number` is None), since then.

    `number` counts the changes; nothing is told while it is the one that the page has seen. `event` is what makes the
    page ask again.
    """
    seen = request.GET["seen"]
    sentence = "" if seen == str(number) else f"Someone {'removed' if number is None else 'changed'} {what}."
    return render(request, "_changed.html", {"seen": seen, "changed": sentence, "gone": number is None, "event": event})
