"""The safety filter's tables: its settings, terms and models, reviewed examples and trainings.

The verdicts on runs are `promptops.runs.models.SafetyCheck`.
"""

from datetime import timedelta

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from promptops.runs.enums import SafetyMode
from promptops.safety.enums import SafetyTermKind, SecondStageMode, SecondStageScope, TrainingState, WhenUnavailable


class SafetyModelVersion(models.Model):
    """A trained model, stored in the database so that every server can load it.

    `data` is the model file (under 2 MB); if empty, the model is the file `manifest["file"]` that ships with PromptOps.
    Queries leave it out (`defer("data")`) unless they load the model.
    """

    number = models.PositiveIntegerField(unique=True)
    data = models.BinaryField(blank=True)
    sha256 = models.CharField(max_length=64, unique=True, validators=[RegexValidator(r"\A[0-9a-f]{64}\Z")])
    manifest = models.JSONField(
        help_text="Labels, thresholds, figures, the rubric's hash: as in engine/safety/data/models/current.json."
    )
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)

    class Meta:
        ordering = ["-number"]

    def __str__(self) -> str:
        return f"safety model {self.number}"


class SafetySettings(models.Model):
    """The filter's settings, a single row (id 1): part of the live configuration, changed by releases."""

    mode = models.CharField(max_length=10, choices=SafetyMode, default=SafetyMode.SHADOW)
    when_down = models.CharField(
        max_length=10,
        choices=WhenUnavailable,
        default=WhenUnavailable.BLOCK,
        help_text="What becomes of a text that a failing filter cannot judge, where it is enforced.",
    )
    when_language = models.CharField(
        max_length=10,
        choices=WhenUnavailable,
        default=WhenUnavailable.BLOCK,
        help_text="What becomes of a text in a language that the model does not know, where the filter is enforced.",
    )
    expected_languages = models.JSONField(
        default=list, blank=True, help_text="Languages that are expected here, by the names of the language gate."
    )
    when_expected = models.CharField(
        max_length=10,
        choices=WhenUnavailable,
        default=WhenUnavailable.BLOCK,
        help_text="What becomes of a text in an expected language that the model does not know, in place of the above.",
    )
    thresholds = models.JSONField(
        default=dict, blank=True, help_text="By category; the model's own where there is none."
    )
    model = models.ForeignKey(SafetyModelVersion, models.PROTECT, related_name="+")
    second_mode = models.CharField(
        max_length=10,
        choices=SecondStageMode,
        default=SecondStageMode.OFF,
        help_text="What the verdicts of the second stage do.",
    )
    second_scope = models.CharField(
        max_length=10,
        choices=SecondStageScope,
        default=SecondStageScope.DOUBTFUL,
        help_text="The texts that the second stage judges.",
    )
    second_threshold = models.FloatField(null=True, blank=True, help_text="Empty: the second stage's own.")
    changed_revision = models.PositiveIntegerField(
        default=0, help_text="The revision of the last change, which an edit must know to succeed."
    )
    terms_revision = models.PositiveIntegerField(
        default=0, help_text="The revision that last changed terms: runs of older ones were judged by others."
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="safety_settings_single_row")]

    def __str__(self) -> str:
        return "the safety filter"


class SafetyTerm(models.Model):
    """A word or phrase that operators allow or deny, as they typed it; part of the live configuration.

    `category` is a deny term's (one of `SafetyCategory`), and "" for an allow term.
    """

    kind = models.CharField(max_length=10, choices=SafetyTermKind)
    text = models.CharField(max_length=200)
    category = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["kind", "text"]
        constraints = [models.UniqueConstraint(fields=["kind", "text"], name="safety_term_unique")]

    def __str__(self) -> str:
        return f"{self.text} ({self.category})" if self.category else self.text


class SafetyExample(models.Model):
    """A reviewed text that the next training adds to the rubric. `category` is "" for a harmless one."""

    label = models.CharField(max_length=20, help_text="As in the rubric: unsafe, hard or safe.")
    category = models.CharField(max_length=20, blank=True)
    text = models.TextField()
    source = models.CharField(max_length=60, blank=True, help_text="Where it comes from, in a word or two.")
    run = models.ForeignKey("Run", models.SET_NULL, null=True, blank=True, related_name="+")
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"safety example {self.pk}"


class SafetySecondLook(models.Model):
    """Two people's readings of a text: the first review of its verdict, and that of another person who did not see it.

    If they disagree, `settled_harmful` is the reading that counts, and None until somebody settles it. A category is ""
    for a harmless text.
    """

    verdict = models.OneToOneField("SafetyCheck", models.CASCADE, related_name="second_look")
    first_harmful = models.BooleanField()
    first_category = models.CharField(max_length=20, blank=True)
    first_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    second_harmful = models.BooleanField()
    second_category = models.CharField(max_length=20, blank=True)
    second_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    at = models.DateTimeField(default=timezone.now)
    settled_harmful = models.BooleanField(null=True, blank=True)
    settled_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"second look at {self.verdict_id}"

    @property
    def agree(self) -> bool:
        """True if both people read the text as harmful, or both as harmless."""
        return self.first_harmful == self.second_harmful


LOST_AFTER = timedelta(seconds=15)
"""A training without a report for this long has ended, because its server has ended."""
LOST = "The server that ran the training stopped before it was done. Nothing was saved. Train again."


class SafetyTraining(models.Model):
    """A training that somebody started on a page. `seen_at` is the time of its server's last report.

    `said` is its result, in sentences. `version` is its model: the new one, or the existing one with the same file;
    then `thresholds` are those that the training would set.
    """

    state = models.CharField(max_length=10, choices=TrainingState, default=TrainingState.RUNNING)
    step = models.CharField(max_length=20, blank=True, help_text="One of `engine.safety.training.Step`.")
    said = models.TextField(blank=True)
    version = models.ForeignKey(SafetyModelVersion, models.PROTECT, null=True, blank=True, related_name="+")
    thresholds = models.JSONField(default=dict, blank=True)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    user_name = models.CharField(max_length=100)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state=TrainingState.RUNNING),
                name="safety_training_one_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return f"safety training {self.pk}"

    @property
    def lost(self) -> bool:
        """True if its state is running although its server has ended."""
        return self.state == TrainingState.RUNNING and self.seen_at < timezone.now() - LOST_AFTER
