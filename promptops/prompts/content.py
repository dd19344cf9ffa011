"""The content of a version: its text and its generation settings, each declared once.

Labels, limits, form fields, files, differences and merges of settings are derived from `SETTINGS`. The columns are in
`promptops.prompts.models.templates`, which takes the limits from here. Nothing here reads the database.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, get_args

from django.core.validators import MaxValueValidator, MinValueValidator

from promptops.engine.types import ReasoningEffort
from promptops.platform.text import MAX_BODY_BYTES, clean_body

BODY = "body"
UNSET = "default"
"""The word that pages show for a setting without a value."""

OF_THE_MODEL = "the model's own"

MAX_DRAFT_CHARACTERS = 4 * MAX_BODY_BYTES  # a draft may be unfinished; checks limit what goes live

Value: TypeAlias = float | int | str | None


@dataclass(frozen=True)
class Setting:
    """One generation setting. It merges and is compared as one value; None or "" leaves it to its default.

    `type` is float, int or str. Numbers have a `minimum` and a `maximum`, texts at most `max_characters` or some
    `choices`. `step` is that of the number field. `default_words` say what the default is, for a setting that has none
    among the live settings (`has_live_default`). `words` show a value in a sentence. A parameter (`is_parameter`) is
    sent with every request and recorded with every run; the model is none, because a provider's own model wins. A
    setting with `rows` is a text of several lines: pages show it by itself and its differences line by line.
    """

    label: str
    type: type
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    max_characters: int | None = None
    choices: tuple[str, ...] = ()
    rows: int = 0  # of the text field
    help_text: str = ""
    default_words: str = UNSET
    has_live_default: bool = True
    words: str = ""
    is_parameter: bool = True
    name: str = ""  # that of the field, filled in below

    @property
    def empty(self) -> Value:
        """Return the value that leaves the setting to its default."""
        return "" if self.type is str and not self.choices and not self.rows else None

    @property
    def validators(self) -> list[MinValueValidator | MaxValueValidator]:
        """Return the limits of a number as a model's field takes them."""
        if self.minimum is None or self.maximum is None:
            return []
        return [MinValueValidator(self.type(self.minimum)), MaxValueValidator(self.type(self.maximum))]

    @property
    def range(self) -> str:
        """Return the limits in words, such as "1 to 32,768"; "" without limits."""
        return "" if self.minimum is None or self.maximum is None else f"{self.minimum:,g} to {self.maximum:,.15g}"

    def cleaned(self, value: Value) -> Value:
        """Return the value as it is stored."""
        if isinstance(value, str):
            return value.replace("\r\n", "\n").replace("\r", "\n").strip() or self.empty
        # -0.0 becomes 0.0: not every database keeps the sign, and the hash of the content must not change.
        return value if value is None or self.type is not float else float(value) + 0.0

    def in_words(self, value: Value) -> str:
        """Return a value as a sentence shows it, such as "at most 1,024 tokens"."""
        return (self.words or f"{self.label.lower()} {{}}").format(grouped(value))

    def placeholder(self, defaults: Any) -> str:
        """Return what an empty field shows, where `defaults` are the live settings."""
        return f"{getattr(defaults, self.name):g}" if self.has_live_default else self.default_words


def _setting(label: str, type: type, **facts: Any) -> Any:
    """Return a field of `Content` that is a setting, left to its default."""
    setting = Setting(label, type, **facts)
    return field(default=setting.empty, metadata={"setting": setting})


@dataclass(frozen=True)
class Content:
    """A text and its generation settings, as a form or a file gives them; None and "" mean that the default applies."""

    body: str
    temperature: float | None = _setting("Temperature", float, minimum=0, maximum=2, step=0.05)
    max_tokens: int | None = _setting("Max tokens", int, minimum=1, maximum=32_768, words="at most {} tokens")
    model: str = _setting(
        "Model",
        str,
        max_characters=200,
        default_words="each provider's own",
        has_live_default=False,
        is_parameter=False,
    )
    top_p: float | None = _setting(
        "Top p",
        float,
        minimum=0,
        maximum=1,
        step=0.05,
        default_words=OF_THE_MODEL,
        has_live_default=False,
    )
    reasoning_effort: str | None = _setting(
        "Reasoning effort",
        str,
        max_characters=20,
        choices=get_args(ReasoningEffort),
        default_words=OF_THE_MODEL,
        has_live_default=False,
    )
    seed: int | None = _setting(
        "Seed",
        int,
        minimum=0,
        maximum=2_147_483_647,  # of the column, and of most servers
        default_words="random",
        has_live_default=False,
    )
    user_template: str | None = _setting(
        "User template",
        str,
        max_characters=MAX_DRAFT_CHARACTERS,
        rows=5,
        help_text="What the model gets as the user's message. Variables work here, too.",
        default_words="exactly the input",
        has_live_default=False,
        is_parameter=False,
    )
    examples: str | None = _setting(
        "Examples",
        str,
        max_characters=MAX_DRAFT_CHARACTERS,
        rows=7,
        help_text="At most 10 pairs, sent before the input as they are. A line => comes between the user's text and "
        "the answer, a line --- between two pairs.",
        default_words="none",
        has_live_default=False,
        is_parameter=False,
    )
    answer_rules: str | None = _setting(
        "Answer rules",
        str,
        max_characters=MAX_DRAFT_CHARACTERS,
        rows=4,
        default_words="only the operation's",
        has_live_default=False,
        is_parameter=False,
    )

    def cleaned(self) -> "Content":
        """Return the same with a clean body and clean settings; raises ValidationError with the reason."""
        settings: dict[str, Any] = {name: setting.cleaned(getattr(self, name)) for name, setting in SETTINGS.items()}
        return replace(self, body=clean_body(self.body), **settings)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        each.name: replace(each.metadata["setting"], name=each.name)
        for each in fields(Content)
        if "setting" in each.metadata
    }
)
"""The settings by name, in the order in which pages show them."""

ORIGINAL = frozenset({"temperature", "max_tokens", "model"})
"""The settings of the first release: hashes and files hold them even where they are unset (see `lasting`)."""

FIELDS = (BODY, *SETTINGS)
TEXTS = tuple(name for name, setting in SETTINGS.items() if setting.rows)
PARAMETERS = tuple(name for name, setting in SETTINGS.items() if setting.is_parameter)
LIVE_DEFAULTS = tuple(name for name, setting in SETTINGS.items() if setting.has_live_default)

NOTHING: Mapping[str, Any] = MappingProxyType(asdict(Content("")))
"""The content of a template that has no version."""


def values_of(source: Any) -> dict[str, Any]:
    """Return the content of `source`, which has its fields as attributes, by name."""
    return {name: getattr(source, name) for name in FIELDS}


def long_fields(prefix: str) -> list[str]:
    """Return the names of the fields with long texts after a prefix, such as "live_version__", for `defer`."""
    return [f"{prefix}{name}" for name in (BODY, *TEXTS)]


def is_unset(value: Value) -> bool:
    """Return whether the value leaves the setting to its default."""
    return value is None or value == ""


def shown(value: Value) -> str:
    """Return a setting's value as pages show it."""
    return UNSET if is_unset(value) else str(value)


def grouped(value: Value) -> str:
    """Return a setting's value with its digits in groups."""
    return shown(value) if isinstance(value, str) or value is None else f"{value:,.15g}"


def summary(source: Any) -> list[tuple[str, str]]:
    """Return label and value of each setting of `source`, in words. A later setting is left out where it is unset.

    Texts are left out; `texts` returns them.
    """
    values = lasting({name: getattr(source, name) for name in SETTINGS if name not in TEXTS})
    pairs = ((SETTINGS[name], value) for name, value in values.items())
    return [(setting.label, setting.default_words if is_unset(value) else str(value)) for setting, value in pairs]


def texts(source: Any) -> list[tuple[str, str]]:
    """Return label and text of each text beside the body that `source` has."""
    return [(SETTINGS[name].label, value) for name in TEXTS if (value := getattr(source, name))]


def lasting(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without the settings that came later and are unset.

    Hashes and files are made of them, so that a new setting changes no hash of a version that does not use it, and
    files that were exported before can be imported.
    """
    later = SETTINGS.keys() - ORIGINAL
    return {name: value for name, value in values.items() if name not in later or not is_unset(value)}


def parameters_of(source: Any) -> dict[str, Any]:
    """Return the parameters of `source`, which has them as attributes, by name."""
    return {name: getattr(source, name) for name in PARAMETERS}


def parameters_in_words(source: Any) -> str:
    """Return the parameters of `source` that are set, such as "temperature 0.5, at most 256 tokens"."""
    values = parameters_of(source).items()
    return ", ".join(SETTINGS[name].in_words(value) for name, value in values if not is_unset(value))


class Difference(NamedTuple):
    """The label of a setting with its values before and after, in words. Those of a text are the text, or ""."""

    label: str
    before: str
    after: str

    @property
    def is_text(self) -> bool:
        """Return whether the values are texts of several lines."""
        return any(SETTINGS[name].label == self.label for name in TEXTS)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the values of each setting before and after. What is missing is left to the default.

    A later setting is left out where it is unset before and after.
    """
    pairs = ((name, each, before.get(name), after.get(name)) for name, each in SETTINGS.items())
    return [
        Difference(each.label, old or "", new or "") if each.rows else Difference(each.label, shown(old), shown(new))
        for name, each, old, new in pairs
        if name in ORIGINAL or not (is_unset(old) and is_unset(new))
    ]


def effective(content: Any, defaults: Any) -> dict[str, Any]:
    """Return the settings of `content` by name; where it leaves one open, the value of the live settings `defaults`."""
    settings = {}
    for name, setting in SETTINGS.items():
        value = getattr(content, name)
        settings[name] = getattr(defaults, name) if is_unset(value) and setting.has_live_default else value
    return settings
