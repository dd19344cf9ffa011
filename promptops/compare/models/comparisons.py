"""Comparisons: two to four arms answer the same inputs.

A comparison copies what it uses when it starts: texts, settings, model ids and inputs. Later edits change nothing in
it, so it can be repeated.
"""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone

from promptops.compare.enums import Choice, ComparisonState, TrialState
from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.prompts.content import Content, values_of
from promptops.prompts.models.templates import Parameters, Texts

LETTERS = "ABCD"

LONGEST_DELAY = timedelta(seconds=30)
"""The longest time that a trial waits before it is retried."""


def delayed(now: datetime) -> Q:
    """Return the condition for trials that wait for a later retry.

    A `not_before` further ahead than the longest delay was written before the clock was set back; its trial is due.
    """
    return Q(not_before__gt=now, not_before__lte=now + LONGEST_DELAY)


class Comparison(models.Model):
    """Two to four arms on a list of inputs."""

    name = models.CharField(max_length=100)
    note = models.CharField("why", max_length=300, blank=True)
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    count = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Alternatives asked for by rewrite.")
    variables = models.JSONField(
        default=dict, blank=True, help_text="The operation's variables, by name, as they were then."
    )
    inputs_from = models.CharField(max_length=100, help_text="The name of the prompt set, as it was then.")
    repeats = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=20, choices=ComparisonState, default=ComparisonState.RUNNING, db_index=True)
    revision = models.PositiveIntegerField(help_text="What was live when it began.")
    timeout_ms = models.PositiveIntegerField(help_text="The deadline of each trial.")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class Arm(Parameters, Texts):
    """A prompt text with its settings on one provider. `version` is None for a draft."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="arms")
    position = models.PositiveSmallIntegerField()
    template = models.ForeignKey("Template", models.PROTECT, related_name="+")
    version = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="arms")
    body = models.TextField()
    temperature = models.FloatField()
    max_tokens = models.PositiveIntegerField()
    model = models.CharField(max_length=200, blank=True, help_text="The template's; a provider's own wins.")
    provider = models.ForeignKey("Provider", models.SET_NULL, null=True, related_name="+")
    provider_name = models.CharField(max_length=60)
    provider_kind = models.CharField(max_length=20)
    provider_url = models.CharField(max_length=300, blank=True)
    provider_model = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["comparison", "position"], name="arm_position_unique")]

    def __str__(self) -> str:
        return f"{self.letter}: {self.label}"

    @property
    def content(self) -> Content:
        """Return the text with all its settings; no setting is left open."""
        return Content(**values_of(self))

    @property
    def letter(self) -> str:
        """Return the name of the arm on pages: A to D."""
        return LETTERS[self.position]

    @property
    def label(self) -> str:
        """Return the text and the provider in words, such as "enhance v3 on groq"."""
        return f"{self.text_label} on {self.provider_name}"

    @property
    def text_label(self) -> str:
        """Return the text in words, such as "enhance v3" or "enhance draft"."""
        return f"{self.template.name} {f'v{self.version.number}' if self.version else 'draft'}"


class ComparisonInput(models.Model):
    """One input as it was when the comparison started."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="inputs")
    position = models.PositiveSmallIntegerField()
    text = models.TextField()

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["comparison", "position"], name="input_position_unique")]

    def __str__(self) -> str:
        return f"input {self.position + 1}"


class Trial(models.Model):
    """One arm's answer to one input. A server claims the trial, and renews the claim until the trial has ended."""

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="trials")
    arm = models.ForeignKey(Arm, models.CASCADE, related_name="trials")
    input = models.ForeignKey(ComparisonInput, models.CASCADE, related_name="trials")
    repeat = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=20, choices=TrialState, default=TrialState.WAITING)
    tries = models.PositiveSmallIntegerField(default=0, help_text="How often the provider had no room for it.")
    claim = models.CharField(max_length=36, blank=True)
    not_before = models.DateTimeField(default=timezone.now, help_text="Of a claimed one: when the claim ends.")
    finished_at = models.DateTimeField(null=True, blank=True)
    run = models.OneToOneField("Run", models.PROTECT, null=True, blank=True, related_name="trial")
    # The figures of `promptops.stats.measures`, counted when the trial ended; None for failed and for older trials.
    characters = models.PositiveIntegerField(null=True, blank=True)
    words = models.PositiveIntegerField(null=True, blank=True)
    subject_kept = models.FloatField(null=True, blank=True, help_text="Share of the input's content words, 0 to 1.")
    repetition = models.FloatField(null=True, blank=True, help_text="Share of repeated runs of three words, 0 to 1.")
    alternatives = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Of a rewrite: how many came.")
    answer_hash = models.BigIntegerField(
        null=True,
        blank=True,
        help_text="Tells answers apart without reading them; None where there is none to vote on.",
    )

    class Meta:
        ordering = ["input", "repeat", "arm"]
        constraints = [
            models.UniqueConstraint(fields=["arm", "input", "repeat"], name="trial_unique"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running"], run=None)
                | Q(state__in=["succeeded", "failed"], run__isnull=False),
                name="trial_ended_with_a_run",
            ),
        ]
        indexes = [
            models.Index(fields=["comparison", "state"], name="trial_comparison_state"),
            # Holds every column that counting ballots needs, so that the count reads no row.
            models.Index(
                fields=["comparison", "input", "repeat", "answer_hash", "arm"],
                name="trial_ballots",
                condition=Q(answer_hash__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"trial {self.pk}"


class Vote(models.Model):
    """One person's blind choice between two arms' answers to one input; each person has one for each such pair.

    `first` is the arm with the smaller position. Sides are shuffled for every voter and input; `first_on_left` is
    stored so that a voter's preference for one side can be detected.
    """

    comparison = models.ForeignKey(Comparison, models.CASCADE, related_name="votes")
    input = models.ForeignKey(ComparisonInput, models.CASCADE, related_name="votes")
    repeat = models.PositiveSmallIntegerField(default=0)
    first = models.ForeignKey(Arm, models.CASCADE, related_name="+")
    second = models.ForeignKey(Arm, models.CASCADE, related_name="+")
    user = models.ForeignKey("User", models.PROTECT, related_name="+")
    user_name = models.CharField(max_length=100)
    choice = models.CharField(max_length=10, choices=Choice)
    first_on_left = models.BooleanField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "input", "repeat", "first", "second"], name="vote_unique"),
        ]

    def __str__(self) -> str:
        return f"vote {self.pk}"
