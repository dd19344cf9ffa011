"""The tables of runs, their attempts and verdicts.

Viewers' prompts are personal data: the texts of a run can be erased, and its figures stay.
"""

from hashlib import sha256

from django.db import models
from django.utils import timezone

from promptops.prompts.models.templates import Parameters
from promptops.runs.enums import RunSource, RunStatus, SafetyMode, SafetyQueue, SafetyReview, SafetySide


class Run(Parameters):
    """One executed operation, recorded at its end."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    source = models.CharField(max_length=20, choices=RunSource)
    operation = models.CharField(max_length=20)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    template = models.ForeignKey("Template", models.PROTECT, null=True, blank=True, related_name="runs")
    version = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="runs")
    draft_body = models.TextField(
        blank=True, help_text="The system prompt of a run on a draft, which no version keeps."
    )
    temperature = models.FloatField()
    max_tokens = models.PositiveIntegerField()
    count = models.PositiveSmallIntegerField(null=True, blank=True)
    revision = models.PositiveIntegerField(db_index=True)
    input = models.TextField(blank=True)
    output = models.TextField(blank=True)
    raw = models.TextField(blank=True, help_text="The answer as the model wrote it, only where it differs from output.")
    status = models.CharField(max_length=20, choices=RunStatus)
    error = models.TextField(blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=200, blank=True)
    fallback_used = models.BooleanField(default=False)
    latency_ms = models.FloatField()
    truncated = models.BooleanField(default=False)
    cost = models.FloatField(null=True, blank=True, help_text="USD, of all attempts; None without prices.")
    cost_estimated = models.BooleanField(default=False)
    drill = models.CharField(max_length=80, blank=True, help_text="The fault put in, and where; not in statistics.")
    erased_at = models.DateTimeField(null=True, blank=True)
    # Every page masks texts that the safety filter blocked or would have blocked (see docs/safety.md).
    input_masked = models.BooleanField(default=False)
    output_masked = models.BooleanField(default=False)
    raw_masked = models.BooleanField(default=False, help_text="The answer as written is masked; output need not be.")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def answer_hash(self) -> int | None:
        """Return 64 bits of the answer's SHA-256, the same for the same text; None if there is no answer to vote on.

        There is none if the run failed, its text was erased, or the safety filter masks the answer or the input.
        """
        if self.status != RunStatus.SUCCEEDED or self.erased_at or self.input_masked or self.output_masked:
            return None
        return int.from_bytes(sha256(self.output.encode()).digest()[:8], signed=True)


class Attempt(models.Model):
    """One call to a provider within a run. Times are in milliseconds since the run began."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="attempts")
    position = models.PositiveSmallIntegerField()
    provider = models.CharField(max_length=60)
    model = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=20, choices=RunStatus)
    error_kind = models.CharField(max_length=40, blank=True)
    message = models.TextField(blank=True)
    started_ms = models.FloatField()
    first_text_ms = models.FloatField(null=True, blank=True)
    latency_ms = models.FloatField()
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    cached_tokens = models.PositiveIntegerField(null=True, blank=True)
    reasoning_tokens = models.PositiveIntegerField(null=True, blank=True)
    usage_estimated = models.BooleanField(default=False)
    cost = models.FloatField(null=True, blank=True, help_text="USD; None without prices.")
    cost_estimated = models.BooleanField(default=False)
    queued_ms = models.FloatField(default=0)
    connect_ms = models.FloatField(null=True, blank=True, help_text="From the start of the attempt.")
    answered_model = models.CharField(max_length=200, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    truncated = models.BooleanField(default=False)
    hedge = models.BooleanField(default=False)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status that meant failure.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="attempt_position_unique")]
        indexes = [models.Index(fields=["provider", "-id"], name="attempt_provider_newest")]

    def __str__(self) -> str:
        return f"attempt {self.position} of run {self.run_id}"


class SafetyCheck(models.Model):
    """The verdict on one side of a run, and a person's review of it.

    `decision`, `layer`, `category`, `scores`, `cause` and `language` are those of `SafetyVerdict`. `blocked` means that
    the verdict was enforced and the text withheld. `score` is the highest score as a share of its category's threshold,
    so 1 and more blocks; None if no model judged the text. `words`, `window` and `reason` may quote the text, and are
    erased with it.
    """

    run = models.ForeignKey("Run", models.CASCADE, related_name="safety_checks", db_index=False)
    side = models.CharField(max_length=10, choices=SafetySide)
    decision = models.CharField(max_length=20)
    layer = models.CharField(max_length=20, blank=True)
    category = models.CharField(max_length=20, blank=True)
    scores = models.JSONField(default=dict, blank=True)
    score = models.FloatField(null=True, blank=True)
    cause = models.CharField(max_length=10, blank=True, help_text="Why it was not judged: down, language or other.")
    language = models.CharField(max_length=60, blank=True, help_text="In English; empty if it is unclear.")
    words = models.JSONField(default=list, blank=True)
    window = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    model = models.ForeignKey(
        "SafetyModelVersion", models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    mode = models.CharField(max_length=10, choices=SafetyMode)
    blocked = models.BooleanField(default=False)
    at = models.DateTimeField(default=timezone.now)
    # The reason for a review, and its result.
    queue = models.CharField(max_length=10, choices=SafetyQueue, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)
    reported_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")
    report_note = models.CharField(max_length=500, blank=True)
    review = models.CharField(max_length=10, choices=SafetyReview, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["run", "side"], name="safety_check_of_a_side")]
        indexes = [
            models.Index(fields=["review", "queue", "-id"], name="safety_check_queue"),
            models.Index(fields=["model", "-id"], name="safety_check_of_model"),
            models.Index(fields=["-at"], name="safety_check_at"),
        ]

    def __str__(self) -> str:
        return f"{self.side} of run {self.run_id}"
