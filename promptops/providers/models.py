"""The tables of providers. The rules for storing one are in `providers.actions.chain`."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from promptops.engine.providers.kinds import KindSpec, kind_spec
from promptops.providers.enums import JsonModeChoice, provider_kind_choices

TIME_VALIDATORS = [MinValueValidator(100), MaxValueValidator(600_000)]  # milliseconds
PRICE_VALIDATORS = [MinValueValidator(0.0), MaxValueValidator(100_000.0)]  # USD per million tokens


def validate_address(value: str) -> None:
    """Refuse an address that cannot be parsed, such as `http://[` or one with an invalid port."""
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValidationError("Give an address such as http://127.0.0.1:8080/v1.")


class Provider(models.Model):
    """One language-model endpoint. The enabled ones, ordered by `position`, are the chain."""

    name = models.CharField(
        max_length=60,
        unique=True,
        validators=[
            RegexValidator(
                r"\A[a-z0-9][a-z0-9_.-]*\Z",
                "Use lower-case letters, digits, -, _ and . only, starting with a letter or digit.",
            )
        ],
        error_messages={"unique": "A provider of that name exists. Choose another name."},
    )
    kind = models.CharField(max_length=20, choices=provider_kind_choices)
    # A URLField would refuse hosts of one label, such as http://vllm:8000/v1 in a container network.
    base_url = models.CharField(
        "base URL",
        max_length=300,
        blank=True,
        validators=[
            validate_address,
            RegexValidator(
                r"\Ahttps?://[A-Za-z0-9.\-\[\]:]+(/[^\s?#@]*)?\Z",
                "Give an address such as http://127.0.0.1:8080/v1, with no password and no query.",
            ),
        ],
    )
    model = models.CharField("model id", max_length=200, blank=True)
    key_env = models.CharField(
        "environment variable",
        max_length=100,
        blank=True,
        validators=[RegexValidator(r"\A[A-Za-z_][A-Za-z0-9_]*\Z", "Use the name of a variable, such as GROQ_API_KEY.")],
    )
    key_encrypted = models.TextField(blank=True)
    timeout_ms = models.PositiveIntegerField("time limit", null=True, blank=True, validators=TIME_VALIDATORS)
    max_concurrent = models.PositiveIntegerField(
        "calls at once", null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(10_000)]
    )
    context_tokens = models.PositiveIntegerField(
        "context, in tokens", null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(100_000_000)]
    )
    price_input = models.FloatField("price of input", null=True, blank=True, validators=PRICE_VALIDATORS)
    price_cached = models.FloatField("price of cached input", null=True, blank=True, validators=PRICE_VALIDATORS)
    price_output = models.FloatField("price of output", null=True, blank=True, validators=PRICE_VALIDATORS)
    first_text_ms = models.PositiveIntegerField(
        "time to the first text",
        null=True,
        blank=True,
        validators=TIME_VALIDATORS,
        help_text="Milliseconds; None: no limit of its own.",
    )
    stall_ms = models.PositiveIntegerField(
        "longest pause in an answer",
        null=True,
        blank=True,
        validators=TIME_VALIDATORS,
        help_text="Milliseconds; None: no limit of its own.",
    )
    fall_back_on_auth = models.BooleanField("fall back when the key is refused", default=True)
    fall_back_on_not_found = models.BooleanField("fall back when the model is not found", default=False)
    fall_back_on_refused = models.BooleanField("fall back when the model declines", default=True)
    adaptations = models.JSONField(
        default=list,
        blank=True,
        help_text="Names of engine.providers.adaptations: what requests to this server leave out or rename.",
    )
    json_mode = models.CharField(
        "JSON answers",
        max_length=6,
        blank=True,
        default="",
        choices=JsonModeChoice,
        help_text="What the server is asked for beside a JSON contract; empty: the choice of its kind.",
    )
    enabled = models.BooleanField(default=True)
    position = models.PositiveIntegerField()
    changed_revision = models.PositiveIntegerField(
        default=0, help_text="The revision of the last change, which an edit must know to succeed."
    )

    class Meta:
        ordering = ["position", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def kind_spec(self) -> KindSpec:
        """Return the provider's kind. A provider whose kind is no longer installed can only be edited."""
        return kind_spec(self.kind)

    @property
    def key_state(self) -> str:
        """Return where the key comes from, in words that hold no secret."""
        if self.key_encrypted:
            return "stored key"
        return f"from {self.key_env}" if self.key_env else "no key"


class LearnedAdaptation(models.Model):
    """An adaptation (`ADAPTATIONS`) that runs learned when the provider refused a request for one model.

    It does not belong to the live configuration, and is deleted when the provider's address or model changes.
    """

    provider = models.ForeignKey(Provider, models.CASCADE, related_name="learned")
    model = models.CharField(max_length=200, help_text="The model that was asked for.")
    name = models.CharField(max_length=40)
    words = models.CharField(max_length=500, blank=True, help_text="The provider's own, by which it was learned.")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["provider", "model", "name"], name="learned_adaptation_unique")]

    def __str__(self) -> str:
        return f"{self.name} of {self.provider}"
