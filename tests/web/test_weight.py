"""The size of pages where there is a lot to show, and what takes white space out of them."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from promptops.ledger.audit import Actor, record
from promptops.ledger.models import Release
from promptops.people.models import OneTimeLink, User
from promptops.platform.pages import PAGE_SIZE
from promptops.prompts.actions.variables import declare
from promptops.prompts.models import Draft, Template, Version
from promptops.runs.models import Run, SafetyCheck
from promptops.safety.models import SafetyModelVersion
from promptops.web import template_loader
from promptops.web.filters import FEW_NAMES
from tests import pages
from tests.factories import build_run, make_provider

MOST_BYTES = 60_000
TEMPLATES, VERSIONS, PEOPLE, PROVIDERS, VARIABLES = 200, 3, 40, 12, 30
OPERATIONS = ("enhance", "auto_extend", "rewrite")


@pytest.fixture
def full(administrator):
    """A lot of everything, with short texts, so that the pages are what weighs."""
    by = Actor.person(administrator, "192.0.2.7")
    names = [f"style-of-the-house-{number:03}" for number in range(TEMPLATES)]
    templates = Template.objects.bulk_create(
        [
            Template(name=name, operation=OPERATIONS[number % 3], is_default=number < 3)
            for number, name in enumerate(names)
        ]
    )
    versions = Version.objects.bulk_create(
        [
            Version(template=template, number=number, body="A text.", note="Short", author_name="Ada", sha256="0" * 64)
            for number in range(1, VERSIONS + 1)
            for template in templates
        ]
    )
    Version.objects.bulk_create(
        [
            Version(template=templates[0], number=number, body="A text.", author_name="Ada", sha256="0" * 64)
            for number in range(VERSIONS + 1, 2 * PAGE_SIZE)
        ]
    )
    for template, version in zip(templates, versions[-TEMPLATES:], strict=True):
        template.live_version = version
    Template.objects.bulk_update(templates, ["live_version"])
    Draft.objects.bulk_create([Draft(template=template, user=administrator, body="x") for template in templates])
    for number in range(PEOPLE):
        User.objects.create(username=f"person{number}", name=f"Person {number}", role="editor")
    OneTimeLink.objects.bulk_create(
        [
            OneTimeLink(
                purpose="join", role="viewer", token_sha256=f"{number}", expires_at=timezone.now() + timedelta(1)
            )
            for number in range(PEOPLE)
        ]
    )
    for number in range(PROVIDERS):
        make_provider(f"provider-{number}", by=by)
    for number in range(VARIABLES):
        declare(OPERATIONS[number % 3], f"mood_{number}", "calm", by=by)
    runs = [
        build_run(user=administrator, template=version.template, version=version, provider="provider-1")
        for version in versions[:60]
    ]
    model = SafetyModelVersion.objects.get()
    checks = [
        SafetyCheck(run=run, side="input", model=model, mode="shadow", decision="block", category="violence", score=0.9)
        for run in Run.objects.bulk_create(runs)
    ]
    SafetyCheck.objects.bulk_create(checks)
    for template in templates[:60]:
        record("template.created", by=by, object=template, after={"operation": "enhance"})
    newest = Release.objects.order_by("-revision").first()
    assert newest
    return f"/revisions/{newest.revision}/"


@pytest.mark.django_db
def test_pages_with_a_lot_to_show_stay_small(full, client_for, administrator, monkeypatch):
    monkeypatch.setattr(pages, "unwrapped", lambda page: page.replace(template_loader.BREAK, "\n"))  # as it is served
    client, name = client_for(administrator), "style-of-the-house-000"
    addresses = [
        *("/", "/prompts/", "/prompts/?page=2", "/prompts/?q=style", "/variables/", "/providers/", "/providers/new/"),
        *(f"/prompts/{name}/", f"/prompts/{name}/history/", f"/prompts/{name}/diff/?a=1&b=3", f"/prompts/{name}/v1/"),
        *("/compare/", "/compare/new/", "/compare/sets/", "/compare/sets/new/", "/runs/", "/runs/?status=succeeded"),
        *("/safety/", "/safety/queue/", "/safety/thresholds/", "/safety/terms/", "/safety/models/", "/safety/try/"),
        *("/audit/", "/timeline/", f"/timeline/?at={timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M:%S}Z", full),
        *("/settings/", "/settings/people/", "/account/sessions/", "/commands/", "/template-names/", "/prompt-files/"),
    ]
    sizes = {}
    for address in addresses:
        is_part = address in ("/commands/", "/template-names/")
        answer = client.get(address, headers={"HX-Request": "true"} if is_part else None)
        assert answer.status_code == 200, address
        sizes[address] = len(answer.content)
    print(*(f"{size:7,} {address}" for address, size in sorted(sizes.items(), key=lambda each: -each[1])), sep="\n")
    assert {address: size for address, size in sizes.items() if size > MOST_BYTES} == {}


# ---------------------------------------------------------------- the loader of templates


@pytest.fixture
def as_served(monkeypatch):
    monkeypatch.setattr(template_loader, "BREAK", "\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<p>\n  a\n\n    b\n</p>\n", "<p>\na\nb\n</p>\n"),
        ("a\n  {% if x %}\n    b\n  {% endif %}\nc", "a\n{% if x %}b\n{% endif %}c\n"),
        ("a\n{% endif %}{% endfor %}\nb", "a\n{% endif %}{% endfor %}b\n"),
        ("{% if x %}\nb", "{% if x %}\nb\n"),  # whatever is in front of an included template may be a word
        ("a\n{% if x %}b{% endif %}\nc", "a\n{% if x %}b{% endif %}\nc\n"),
        ('{% icon "x" %}\n{% url "y" %}\nc', '{% icon "x" %}\n{% url "y" %}\nc\n'),  # tags that write something
        ("a\n{# a note #}\nb", "a\n{# a note #}b\n"),
        ("a\t\n\tb  c", "a\nb  c\n"),
    ],
)
def test_indentation_and_the_lines_of_control_tags_are_left_out(source, expected, as_served):
    assert template_loader.compact(source) == expected


@pytest.mark.parametrize(
    "path",
    sorted((settings.BASE_DIR / "templates").rglob("*.html")),
    ids=lambda path: str(path.relative_to(settings.BASE_DIR)),
)
def test_no_template_has_lines_of_text_whose_breaks_count(path):
    """A browser shows the breaks inside these elements."""
    markup = re.sub(r"{%.*?%}", "", path.read_text())
    for tag in ("pre", "textarea"):
        for content in re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", markup, re.S):
            assert "\n" not in content, content


# ---------------------------------------------------------------- long lists of names


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["/runs/", "/timeline/"])
def test_a_filter_lists_few_names_and_suggests_many(page, client_for, viewer):
    Template.objects.bulk_create([Template(name=f"t{number}", operation="enhance") for number in range(FEW_NAMES)])
    client = client_for(viewer)
    few = client.get(page).content.decode()
    assert '<option value="t1">t1</option>' in few
    assert '<option value="t1" selected>t1</option>' in client.get(f"{page}?template=t1").content.decode()
    Template.objects.create(name="one-more", operation="enhance", archived_at=timezone.now())
    many = client.get(f"{page}?template=t1").content.decode()
    assert '<option value="t2"' not in many
    assert re.search(r'<input type="search" name="template" id="filter-template"\s+value="t1" list=', many)
    names = client.get("/template-names/", headers={"HX-Request": "true"}).content.decode()
    assert names.count("<option") == FEW_NAMES + 1
    assert '<option value="one-more">' in names
    unknown = client.get(f"{page}?template=nothing").content.decode()
    assert "This choice does not exist" in unknown
    assert 'value="nothing"' in unknown


# ---------------------------------------------------------------- pages of templates and versions


@pytest.mark.django_db
def test_many_templates_come_in_pages_and_by_operation(client_for, viewer):
    rows = [Template(name=f"a{number:02}", operation="enhance") for number in range(PAGE_SIZE)]
    Template.objects.bulk_create(rows)
    client = client_for(viewer)
    page = client.get("/prompts/").content.decode()
    assert 'aria-label="Operation"' not in page
    assert 'aria-label="Pages of templates"' not in page
    Template.objects.create(name="usual", operation="rewrite")
    assert [row.name for row in client.get("/prompts/?page=2").context["window"].rows] == ["usual"]
    assert [row.name for row in client.get("/prompts/?page=99").context["window"].rows] == ["usual"]
    first = client.get("/prompts/")
    assert len(first.context["window"].rows) == PAGE_SIZE
    assert re.search(r'href="/prompts/\?page=2"', first.content.decode())
    one = client.get("/prompts/?operation=rewrite")
    assert [row.name for row in one.context["window"].rows] == ["usual"]
    assert re.search(r'href="/prompts/\?operation=rewrite"\s*aria-current="page"', one.content.decode())
    assert len(client.get("/prompts/?operation=%00").context["window"].rows) == PAGE_SIZE
    assert "No templates of this operation" in client.get("/prompts/?operation=gone").content.decode()
