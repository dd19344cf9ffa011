"""The pages of sessions: everybody sees and ends their own, administrators also those of others."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from promptops.ledger.errors import Stale
from promptops.people import queries
from promptops.people.actions import accounts as actions
from promptops.people.enums import Permission
from promptops.people.models import User
from promptops.web import review
from promptops.web.access import actor, requires
from promptops.web.request import Request


@requires(Permission.READ)
def own(request: Request) -> HttpResponse:
    """Show one's own sessions; for an htmx request only the list."""
    return _page(request, request.user)


@requires(Permission.READ)
@require_POST
def end_own(request: Request, session: int) -> HttpResponse:
    """End one of one's own sessions."""
    return _end(request, request.user, session, reverse("sessions"))


@requires(Permission.READ)
@require_POST
def end_others(request: Request) -> HttpResponse:
    """End all of one's own sessions except this one."""
    return _end_all(request, request.user, reverse("sessions"))


@requires(Permission.ADMINISTER)
def of_person(request: Request, pk: int) -> HttpResponse:
    """Show a person's sessions; for an htmx request only the list."""
    return _page(request, get_object_or_404(User, pk=pk))


@requires(Permission.ADMINISTER)
@require_POST
def end_of_person(request: Request, pk: int, session: int) -> HttpResponse:
    """End one session of a person."""
    return _end(request, get_object_or_404(User, pk=pk), session, reverse("people_sessions", args=[pk]))


@requires(Permission.ADMINISTER)
@require_POST
def end_all_of_person(request: Request, pk: int) -> HttpResponse:
    """End all sessions of a person; of one's own, this one stays."""
    return _end_all(request, get_object_or_404(User, pk=pk), reverse("people_sessions", args=[pk]))


def _page(request: Request, person: User) -> HttpResponse:
    rows = list(queries.sessions(person))
    for row in rows:
        row.is_this = row.session_id == request.session.session_key  # type: ignore[attr-defined]
    others = sum(not row.is_this for row in rows)  # type: ignore[attr-defined]
    context = {"person": person, "rows": rows, "others": others, "of_others": person != request.user}
    if request.user.may(Permission.ADMINISTER) and not request.htmx:
        context |= {
            "identity": queries.identity(person),
            "second_step": queries.second_step(person),
            "provider": settings.OIDC_NAME if settings.OIDC_ISSUER else "",
            "refused_subject": queries.refused_subject(person) if settings.OIDC_ISSUER else "",
        }
    return render(request, "people/sessions/_list.html" if request.htmx else "people/sessions/index.html", context)


def _end(request: Request, person: User, pk: int, url: str) -> HttpResponse:
    session = person.sessions.select_related("user").filter(pk=pk).first()
    try:
        if session is None:
            raise Stale("This session has already ended.")
        actions.end_session(session, by=actor(request))
    except Stale as stale:
        return review.done(request, url, str(stale))
    return review.done(request, url, f"Session ended: {session}. Anyone who uses it has to sign in again.")


def _end_all(request: Request, person: User, url: str) -> HttpResponse:
    ended = actions.end_sessions(person, by=actor(request), session_key=request.session.session_key or "")
    word = "session is" if ended == 1 else "sessions are"
    return review.done(request, url, f"{ended} {word} ended." if ended else "There was no session to end.")
