"""Where people are signed in: everybody sees and ends their own sessions, administrators those of others, too."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Stale
from promptops.people import actions, queries
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.READ)
def own(request: Request) -> HttpResponse:
    """One's own sessions; for an htmx request only the list."""
    return _page(request, request.user)


@requires(Permission.READ)
@require_POST
def end_own(request: Request, session: int) -> HttpResponse:
    """Sign one of one's own sessions out."""
    return _end(request, request.user, session, reverse("sessions"))


@requires(Permission.READ)
@require_POST
def end_others(request: Request) -> HttpResponse:
    """Sign all of one's own sessions out but this one."""
    return _end_all(request, request.user, reverse("sessions"))


@requires(Permission.ADMINISTER)
def of_person(request: Request, pk: int) -> HttpResponse:
    """Somebody's sessions; for an htmx request only the list."""
    return _page(request, get_object_or_404(User, pk=pk))


@requires(Permission.ADMINISTER)
@require_POST
def end_of_person(request: Request, pk: int, session: int) -> HttpResponse:
    """Sign one session of somebody out."""
    return _end(request, get_object_or_404(User, pk=pk), session, reverse("people_sessions", args=[pk]))


@requires(Permission.ADMINISTER)
@require_POST
def end_all_of_person(request: Request, pk: int) -> HttpResponse:
    """Sign all sessions of somebody out; of one's own, this one stays."""
    return _end_all(request, get_object_or_404(User, pk=pk), reverse("people_sessions", args=[pk]))


def _page(request: Request, person: User) -> HttpResponse:
    rows = list(queries.sessions(person))
    for row in rows:
        row.is_this = row.session_id == request.session.session_key  # type: ignore[attr-defined]
    others = sum(not row.is_this for row in rows)  # type: ignore[attr-defined]
    context = {"person": person, "rows": rows, "others": others, "of_others": person != request.user}
    return render(request, "people/sessions/_list.html" if request.htmx else "people/sessions/index.html", context)


def _end(request: Request, person: User, session: int, url: str) -> HttpResponse:
    found = person.sessions.select_related("user").filter(pk=session).first()
    try:
        if found is None:
            raise Stale("That session is over already.")
        actions.end_session(found, by=actor(request))
    except Stale as stale:
        return review.done(request, url, str(stale))
    return review.done(request, url, f"The session is ended: {found}. Whoever uses it has to sign in again.")


def _end_all(request: Request, person: User, url: str) -> HttpResponse:
    ended = actions.end_sessions(person, by=actor(request), session_key=request.session.session_key or "")
    word = "session is" if ended == 1 else "sessions are"
    return review.done(request, url, f"{ended} {word} ended." if ended else "There was no session to end.")
