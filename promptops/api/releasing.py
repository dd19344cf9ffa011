"""The routes that publish and roll back templates. They call the actions that the pages call."""

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Header, Response
from pydantic import BaseModel, Field, create_model, model_validator

from promptops.api.access import Caller, needs
from promptops.api.actions import change_once
from promptops.api.database import in_database
from promptops.api.fields import Body, TemplateName, Text, example
from promptops.api.openapi import problems
from promptops.api.problems import Problem
from promptops.ledger.models import Release
from promptops.ledger.releases import overriding_pins
from promptops.people.enums import Scope
from promptops.prompts.actions import releases
from promptops.prompts.content import SETTINGS, Content
from promptops.prompts.errors import StaleRelease
from promptops.prompts.models import Template, Version

router = APIRouter(prefix="/api/v1", tags=["Releases"])

EXPECTED_MISSING = (
    "Say which version you expect to be live, so that no other release is lost: send its sha256 or number in the "
    "header If-Match or in the field `expected` (0 if nothing is live)."
)
MOST_NUMBER = 2_147_483_647

Number = Annotated[int, Field(ge=1, le=MOST_NUMBER)]
Expected = Annotated[
    Annotated[int, Field(ge=0, le=MOST_NUMBER)] | Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None,
    Field(description="The version that is live as far as you know: its number (0: none) or its sha256."),
]
Note = Annotated[Text, Field(max_length=500, description="The reason; the history shows it.")]

OverridePins = Annotated[
    bool, Field(strict=True, description="Apply the release to pinned sessions too. They keep their texts otherwise.")
]

_FIELDS: dict[str, Any] = {"body": (Annotated[Text, Field(description="The system prompt.")], ...)}
for _name, _setting in SETTINGS.items():
    _kind: Any = Text if _setting.type is str else _setting.type
    _FIELDS[_name] = (_kind | None, Field(None, description=_setting.label))
VersionContent: Any = create_model(
    "VersionContent",
    __base__=Body,
    __doc__="A text and its settings. A setting that is left out or null has its default.",
    **_FIELDS,
)
SystemPrompt = Annotated[
    Text | None, Field(description="The system prompt. The settings stay those of the live version.")
]


class Publication(Body):
    """The content to publish: a text, a whole content, or the number of an older version."""

    model_config = example({"text": "You polish prompts for video.", "note": "Shorter", "expected": 12})

    text: SystemPrompt = None
    content: VersionContent | None = None
    version: Annotated[Number | None, Field(description="An existing version, which goes live again.")] = None
    note: Note = ""
    override_pins: OverridePins = False
    expected: Expected = None

    @model_validator(mode="after")
    def has_one_source(self) -> Self:
        """Refuse a body with none or several of text, content and version."""
        if [self.text, self.content, self.version].count(None) != 2:
            raise ValueError("Send exactly one of `text`, `content` and `version`.")
        return self


class Rollback(Body):
    """The version to roll back to."""

    model_config = example({"version": 11, "note": "Answers were too long", "expected": 12})

    version: Annotated[Number | None, Field(description="The version. Left out: the one that was live before.")] = None
    note: Note = ""
    override_pins: OverridePins = False
    expected: Expected = None


class Released(BaseModel):
    """A release."""

    template: str
    version: int
    sha256: str
    revision: int
    replaced: int | None
    """The number of the version that was live before."""


IfMatch = Annotated[
    str, Header(max_length=200, description="The sha256 or the number of the version that you expect to be live.")
]
IdempotencyKey = Annotated[
    str,
    Header(
        max_length=200,
        pattern=r"^[!-~]*$",
        description="A text of your choice. A repeated request with it gets the first answer, for 24 hours.",
    ),
]
Releaser = Annotated[Caller, Depends(needs(Scope.RELEASE))]
PROBLEMS = problems("not-found", "refused", "conflict", "stale", "expected-missing", "key-reused")


@router.post("/templates/{name}/publish", summary="Publish a version", responses=PROBLEMS)
async def publish_template(
    name: TemplateName,
    body: Publication,
    caller: Releaser,
    response: Response,
    if_match: IfMatch = "",
    idempotency_key: IdempotencyKey = "",
) -> Released:
    """Publish a text as the template's next version. All servers switch within a second."""
    return await _released(_publish, name, body, caller, response, if_match, idempotency_key)


@router.post("/templates/{name}/rollback", summary="Roll back", responses=PROBLEMS)
async def roll_back_template(
    name: TemplateName,
    body: Rollback,
    caller: Releaser,
    response: Response,
    if_match: IfMatch = "",
    idempotency_key: IdempotencyKey = "",
) -> Released:
    """Make an existing version of the template live again. No new version is made."""
    return await _released(_roll_back, name, body, caller, response, if_match, idempotency_key)


async def _released(
    change: Any,
    name: str,
    body: Publication | Rollback,
    caller: Caller,
    response: Response,
    if_match: str,
    key: str,
) -> Released:
    if not if_match and body.expected is None:
        raise Problem(428, "expected-missing", EXPECTED_MISSING)
    request = {"do": change.__name__, "template": name, "if_match": if_match, "body": body.model_dump(mode="json")}
    answer = await in_database(change_once, caller.token.id, key, request, lambda: change(name, body, caller, if_match))
    released = Released(**answer)
    response.headers["ETag"] = f'"{released.sha256}"'
    return released


def _publish(name: str, body: Publication, caller: Caller, if_match: str) -> dict[str, Any]:
    template = _template(name)
    if body.version is not None:
        return _make_live(template, _version(template, body.version), body, caller, if_match)
    live = template.live_version
    if body.content is not None:
        content = Content(**{key: _value(key, value) for key, value in body.content.model_dump().items()})
    else:
        content = Content(**{**(live.content if live else {}), "body": body.text or ""})
    with _expecting(live, body.expected, if_match), overriding_pins(body.override_pins):
        version = releases.publish(
            template, content, by=caller.actor, expected=live.pk if live else None, note=body.note
        )
    return _facts(template, version, live)


def _roll_back(name: str, body: Rollback, caller: Caller, if_match: str) -> dict[str, Any]:
    template = _template(name)
    if body.version is not None:
        return _make_live(template, _version(template, body.version), body, caller, if_match)
    replacements = Release.objects.filter(template_id=template.pk).exclude(replaced=None).order_by("-revision")
    replaced = replacements.values_list("replaced", flat=True).first()
    if replaced is None:
        raise Problem(404, "not-found", f"No version of {name} was live before. Name the version.")
    return _make_live(template, template.versions.get(pk=replaced), body, caller, if_match)


def _make_live(
    template: Template, version: Version, body: Publication | Rollback, caller: Caller, if_match: str
) -> dict[str, Any]:
    live = template.live_version
    with _expecting(live, body.expected, if_match), overriding_pins(body.override_pins):
        version = releases.roll_back(version, by=caller.actor, expected=live.pk if live else None, note=body.note)
    return _facts(template, version, live)


class _expecting:
    """Refuse another live version than the expected one, before the change and during it."""

    def __init__(self, live: Version | None, expected: int | str | None, if_match: str) -> None:
        self.live, self.expected, self.if_match = live, expected, if_match

    def __enter__(self) -> None:
        names = {str(self.live.number), self.live.sha256, "*"} if self.live else {"0"}
        if self.if_match:
            wanted = {each.strip().removeprefix("W/").strip('"') for each in self.if_match.split(",")}
            if not wanted & names:
                raise self._changed(StaleRelease(self.live))
        if self.expected is not None and str(self.expected) not in names:
            raise self._changed(StaleRelease(self.live))

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, StaleRelease):
            raise self._changed(error) from None

    def _changed(self, error: StaleRelease) -> Problem:
        live = {"version": error.live.number, "sha256": error.live.sha256} if error.live else None
        status, name = (412, "stale") if self.if_match else (409, "conflict")
        return Problem(status, name, str(error), live=live)


def _template(name: str) -> Template:
    template = Template.objects.select_related("live_version").filter(name=name).first()
    if template is None:
        raise Problem(404, "not-found", f"There is no template {name}.")
    return template


def _version(template: Template, number: int) -> Version:
    version = template.versions.filter(number=number).first()
    if version is None:
        raise Problem(404, "not-found", f"There is no version {number} of {template.name}.")
    return version


def _value(name: str, value: Any) -> Any:
    return SETTINGS[name].empty if value is None and name in SETTINGS else value


def _facts(template: Template, version: Version, replaced: Version | None) -> dict[str, Any]:
    release = Release.objects.filter(template_id=template.pk, version_id=version.pk).order_by("-revision").first()
    return {
        "template": template.name,
        "version": version.number,
        "sha256": version.sha256,
        "revision": release.revision if release else 0,
        "replaced": replaced.number if replaced else None,
    }
