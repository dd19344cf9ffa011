"""Every page of the application, each list with each of its filters, on its first pages and deep ones.

`unmeasured` finds an address that nobody has added here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from inspect import getclosurevars
from itertools import product
from typing import Any
from urllib.parse import urlencode

EXEMPT = {
    "setup": "a one-time link, once for each installation",
    "join": "a one-time link",
    "password_by_link": "a one-time link",
    "audit_verify": "checks the chain for 0.7 s, then asks for the next step",
    "destination": "a form of one row",
    "delivery": "asks for one row while a test is sent",
    **dict.fromkeys(
        ("sign_in", "sign_in_local", "second_step", "second_step_setup"), "shown to people who are not signed in"
    ),
    **dict.fromkeys(
        ("comparison_answers", "comparison_pair", "comparison_verdict"), "an old address, which leads to a section"
    ),
    **dict.fromkeys(("shared_draft", "release_request"), "one text that was handed over, beside what is live"),
    "oidc": "goes to the identity provider",
    "oidc_callback": "comes from the identity provider",
}
"""Pages that are not measured, by the names of their addresses, and why. Those that only take POST need no reason."""


@dataclass(frozen=True)
class Page:
    """A page to ask for: the name of its address with arguments, and a query. `htmx` asks for a part of it.

    `leads` is true for an address that redirects to another page.
    """

    name: str
    args: tuple[Any, ...] = ()
    query: dict[str, Any] = field(default_factory=dict)
    htmx: bool = False
    leads: bool = False

    @property
    def address(self) -> str:
        """Return the address."""
        from django.urls import reverse

        path = reverse(self.name, args=self.args)
        return f"{path}?{urlencode(self.query)}" if self.query else path


def all_pages() -> list[Page]:
    """Return every page, for the rows that are in the database."""
    found = [*_whole_pages(), *_run_lists(), *_audit_lists(), *_other_lists(), *_fleet_pages()]
    return [replace(page, htmx=page.htmx or _is_part(page)) for page in found]


def _is_part(page: Page) -> bool:
    """Return whether the address answers a part of a page to htmx only."""
    from django.urls import resolve, reverse

    return getattr(resolve(reverse(page.name, args=page.args)).func, "is_part", False)


def unmeasured(pages: list[Page]) -> list[str]:
    """Return the names of addresses that are neither measured nor exempt, although they take GET."""
    from django.urls import URLPattern, URLResolver, get_resolver

    def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
        for entry in resolver.url_patterns:
            if isinstance(entry, URLResolver):
                yield from patterns(entry)
            else:
                yield entry

    known = {page.name for page in pages} | EXEMPT.keys()
    return [str(each.name) for each in patterns(get_resolver()) if each.name not in known and _takes_get(each.callback)]


def _takes_get(view: Any) -> bool:
    """Return whether no decorator of the view, such as `require_POST`, refuses GET."""
    while view is not None:
        if "GET" not in getclosurevars(view).nonlocals.get("request_method_list", ["GET"]):
            return False
        view = getattr(view, "__wrapped__", None)
    return True


def _whole_pages() -> Iterator[Page]:
    """Yield one page of each kind, those of one thing with the thing that has most."""
    from promptops.compare.models import Comparison, PromptSet
    from promptops.ledger.models import AuditEntry, Release
    from promptops.people.models import User
    from promptops.prompts.models import Template, Variable
    from promptops.providers.models import Provider
    from promptops.runs.models import Run

    for name in PLAIN:
        yield Page(name)
    yield Page("safety_training", htmx=True)
    yield Page("operation", ("enhance",))
    yield Page("commands")
    yield Page("commands", query={"q": "1"})
    yield Page("template_names")
    for hours in (1, 168):
        yield Page("overview", query={"hours": hours})
    template = Template.objects.order_by("pk").first()
    assert template
    live = template.versions.count()
    for name in OF_TEMPLATE:
        yield Page(name, (template.name,))
    yield Page("template", (template.name,), htmx=True)
    yield Page("template_diff", (template.name,), {"a": 1, "b": live})
    yield Page("version", (template.name, live))
    comparison = Comparison.objects.order_by("-pk").first()
    assert comparison
    for name in OF_COMPARISON:
        yield Page(name, (comparison.pk,))
    yield Page("comparison", (comparison.pk,), {"pair": 1})
    yield Page("comparison_new", query={"repeat": comparison.pk})
    prompt_set = PromptSet.objects.order_by("pk").first()
    assert prompt_set
    yield Page("prompt_set", (prompt_set.pk,))
    yield Page("prompt_set_edit", (prompt_set.pk,))
    yield Page("provider", (Provider.objects.values_list("pk", flat=True)[0],))
    yield Page("variable", (Variable.objects.values_list("pk", flat=True)[0],))
    person = User.objects.values_list("pk", flat=True)[0]
    yield Page("people_sessions", (person,))
    yield Page("people_role", (person,), htmx=True)
    for run in (Run.objects.order_by("pk").first(), Run.objects.filter(fallback_used=True).last()):
        assert run
        yield Page("run", (run.pk,))
    newest = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]
    yield Page("audit_entry", (newest // 2,))
    yield Page("audit_entry", (newest // 2,), {"changes": 1})
    for revision in (1, Release.objects.count() // 2, Release.objects.count()):
        yield Page("revision", (revision,))
        yield Page("releases_since", (revision,))


PLAIN = (
    "overview",
    "overview_fleet",
    "keys",
    "release_requests",
    "release_requests_own",
    "run_answers",
    "health",
    "settings",
    "password",
    "second_step_own",
    "sessions",
    "people",
    "prompts",
    "template_new",
    "variables",
    "variable_new",
    "operations",
    "operation_new",
    "prompt_files",
    "texts_import",
    "providers",
    "provider_new",
    "comparisons",
    "comparison_new",
    "prompt_sets",
    "prompt_set_new",
    "runs",
    "audit",
    "timeline",
    "safety",
    "safety_try",
    "safety_thresholds",
    "safety_terms",
    "safety_queue",
    "safety_models",
    "fleet",
    "fleet_count",
    "fleet_notices",
    "levers",
    "lever_panel",
    "tokens",
    "alerts",
    "destination_new",
    "api",
    "api_document",
)
OF_TEMPLATE = (
    "template",
    "template_samples",
    "template_presence",
    "template_request",
    "template_discarded",
    "template_history",
    "template_diff",
    "template_details",
)
OF_COMPARISON = (
    "comparison",
    "comparison_report",
    "comparison_vote",
)


def _run_lists() -> Iterator[Page]:
    from django.db.models import Max, Min

    from benchmarks.big.runs import REMOVED
    from promptops.engine.operations import OPERATIONS
    from promptops.prompts.models import Template
    from promptops.providers.models import Provider
    from promptops.runs.enums import ContractOutcome, RunSource, RunStatus
    from promptops.runs.forms import RunFilterForm
    from promptops.runs.models import Run

    ends = Run.objects.aggregate(first=Min("at"), last=Max("at"), newest=Max("pk"))
    middle = ends["newest"] // 2
    templates = list(Template.objects.order_by("pk").values_list("name", flat=True))
    providers = list(Provider.objects.values_list("name", flat=True))
    safety = [value for value, _ in RunFilterForm.base_fields["safety"].choices if value]
    filters: list[dict[str, Any]] = [
        *({"operation": name} for name in OPERATIONS),
        *({"status": value} for value in RunStatus.values),
        *({"source": value} for value in RunSource.values),
        *({"safety": value} for value in safety),
        *({"contract": value} for value in ContractOutcome.values),
        *({"template": name} for name in (templates[0], templates[len(templates) // 2], templates[-1])),
        *({"user": name} for name in ("person-7", "bench")),
        {"token": "gpu-1"},
        *({"provider": name} for name in (providers[0], providers[-1], REMOVED, "never-called")),
        *({"revision": number} for number in (1, Run.objects.get(pk=middle).revision)),
        *_days(ends["first"], ends["last"]),
        {"since": (ends["last"] - timedelta(days=1)).isoformat(), "until": ends["last"].isoformat()},
        {"template": templates[0], "status": "failed"},
        {"template": templates[-1], "provider": REMOVED},
        {"operation": "rewrite", "safety": "harmful"},
        {"template": templates[0], "contract": "breached"},
        {"user": "person-7", "provider": "never-called"},
        {"status": "blocked", "provider": providers[0]},
        {"provider": REMOVED, "start": _day(ends["last"])},
        {"status": "failed", "start": _day(ends["first"]), "end": _day(ends["first"])},
    ]
    yield from _deep("runs", {}, middle)
    for query in filters:
        yield from _deep("runs", query, middle)


def _audit_lists() -> Iterator[Page]:
    from promptops.history.forms import AuditFilterForm
    from promptops.ledger import registry
    from promptops.ledger.models import AuditEntry

    newest = AuditEntry.objects.order_by("-seq").values_list("seq", flat=True)[0]
    middle = newest // 2
    ends = list(AuditEntry.objects.filter(seq__in=(1, newest)).order_by("seq").values_list("at", flat=True))
    used = set(AuditEntry.objects.order_by().values_list("action", flat=True).distinct())
    nouns = sorted({name.partition(".")[0] for name in used})
    kinds = [value for value, _ in AuditFilterForm({}).fields["type"].choices if value]
    filters: list[dict[str, Any]] = [
        *({"action": name} for name in sorted(used)),
        *({"action": noun} for noun in nouns if len(registry.names(lambda each, noun=noun: each.noun == noun)) > 1),
        {"action": "secret_key.replaced"},
        *({"type": kind} for kind in kinds),
        *({"actor": name} for name in ("person-7", "bench", "system:Somebody", "system:Command line")),
        {"action": "settings.changed", "actor": "person-7"},
        {"action": "safety", "actor": "person-7"},
        {"action": "template", "type": "run"},
        {"type": "template", "actor": "person-7"},
        {"object": "enhance"},
        {"object": "run 4711"},
        {"object": "nowhere"},
        {"type": "template", "object": "rewrite"},
        {"q": "published"},
        {"q": "person 7 signed in"},
        {"q": "camera notes"},
        {"q": "words that nobody wrote"},
        *_days(*ends),
        {"action": "settings.changed", "start": _day(ends[0]), "end": _day(ends[0])},
        {"actor": "person-7", "start": _day(ends[0]), "end": _day(ends[0])},
    ]
    yield from _deep("audit", {}, middle)
    for query in filters:
        yield from _deep("audit", query, middle)


def _other_lists() -> Iterator[Page]:
    from promptops.compare.models import Comparison, PromptSet
    from promptops.compare.queries.matrix import SHOWS
    from promptops.engine.operations import OPERATIONS
    from promptops.ledger.models import Release
    from promptops.prompts.models import Template
    from promptops.runs.enums import SafetyQueue
    from promptops.runs.models import SafetyCheck
    from promptops.safety.enums import PairQueue, QueueOrder

    count = Release.objects.count()
    ends = list(Release.objects.filter(revision__in=(1, count)).order_by("revision").values_list("at", flat=True))
    names = list(Template.objects.order_by("pk").values_list("name", flat=True))
    moments = [ends[0], ends[0] + (ends[1] - ends[0]) / 2, ends[1]]
    yield from _deep("timeline", {}, count // 2)
    for name in (names[0], names[-1]):
        yield from _deep("timeline", {"template": name}, count // 2)
    for at in (f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in moments):
        yield Page("timeline", query={"at": at})
        yield Page("timeline", query={"at": at, "template": names[-1]})
    for query in ({"q": "camera"}, {"q": "Edition 12"}, {"q": "no such words"}, {"archived": 1}, {"q": names[-1]}):
        yield Page("prompts", query=query)
    newest = SafetyCheck.objects.order_by("-pk").values_list("pk", flat=True)[0]
    for queue, order in product(("", *SafetyQueue.values, *PairQueue.values), QueueOrder.values):
        chosen = {"queue": queue, "order": order}
        yield Page("safety_queue", query=chosen)
        for before in (newest // 2, newest // 50):
            yield Page("safety_queue", query={**chosen, "before": before})
    thresholds = {"sexual": 0.3, "violence": 0.4, "hate": 0.9}
    yield Page("safety_thresholds", query=thresholds)
    yield Page("safety_thresholds", query=thresholds, htmx=True)
    yield Page("safety_try", query={"run": newest // 2})
    comparison = Comparison.objects.order_by("-pk").values_list("pk", flat=True)[0]
    yield Page("comparisons", query={"before": comparison // 2})
    for show in SHOWS:
        yield Page("comparison", (comparison,), {"show": show})
    yield Page("comparison", (comparison,), {"q": "fox", "from": 21})
    for operation in OPERATIONS:
        yield Page("comparison_new", query={"operation": operation})
        yield Page("prompt_set_new", query={"operation": operation, "newest": 100})
    prompt_set = PromptSet.objects.order_by("pk").values_list("pk", flat=True)[0]
    yield Page("prompt_sets", query={"q": "scenes"})
    yield Page("prompt_sets", query={"archived": 1})
    yield Page("prompt_set", (prompt_set,), {"q": "fox", "page": 2})


def _fleet_pages() -> Iterator[Page]:
    """Yield the pages of servers, levers, tokens and runs of machines."""
    from promptops.fleet.enums import Standing
    from promptops.fleet.models import Server
    from promptops.ledger.models import Release
    from promptops.people.models import Token
    from promptops.runs.models import Run

    newest = Release.objects.count()
    for query in ({"q": "gpu-7"}, {"label": "zone=a"}, {"page": 2}, *({"state": each} for each in Standing.values)):
        yield Page("fleet", query=query)
    yield Page("server", (Server.objects.values_list("pk", flat=True)[0],))
    yield Page("rollout", (newest,), htmx=True)
    yield Page("rollout", (newest,), {"banner": 1}, htmx=True)
    for revision in (newest // 2, newest - 1):
        yield Page("lever_changes", query={"revision": revision}, htmx=True)
    yield Page("token_rotate", (Token.objects.filter(revoked_at=None).values_list("pk", flat=True)[0],), htmx=True)
    made = Run.objects.exclude(public_id=None).values_list("public_id", flat=True)
    yield Page("run_by_public_id", (made[0],), leads=True)


def _deep(name: str, query: dict[str, Any], middle: int) -> Iterator[Page]:
    """Yield a list's first page, one of the middle, the last ones from both sides, and the news of an open page."""
    yield Page(name, query=query)
    yield Page(name, query={**query, "before": middle})
    yield Page(name, query={**query, "before": 60})
    yield Page(name, query={**query, "after": 1})
    yield Page(name, query={**query, "news": "count", "since": middle * 2 - 1}, htmx=True)


def _days(first: datetime, last: datetime) -> Iterator[dict[str, Any]]:
    """Yield filters by time: the last day, the first week, a month in the middle, all of it, before and after all."""
    middle = first + (last - first) / 2
    yield {"start": _day(last)}
    yield {"end": _day(first + timedelta(days=7))}
    yield {"start": _day(middle), "end": _day(middle + timedelta(days=30))}
    yield {"start": _day(first), "end": _day(last)}
    yield {"start": "2199-01-01"}
    yield {"end": "1999-01-01"}


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
