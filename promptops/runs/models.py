"""The tables of runs, their attempts and verdicts, of what became of old runs, and of the totals of deleted ones.

Viewers' prompts are personal data: the texts of a run can be erased, and its figures stay.
"""

from datetime import datetime
from hashlib import sha256

from django.db import models
from django.utils import timezone

from promptops.engine.operations import MAX_NAME_CHARACTERS
from promptops.prompts.models.templates import Parameters
from promptops.runs.enums import (
    ContractOutcome,
    ExpiryKind,
    RunSource,
    RunStatus,
    SafetyMode,
    SafetyQueue,
    SafetyReview,
    SafetySide,
)

MASKED = models.Q(input_masked=True) | models.Q(output_masked=True)
"""The condition of runs with a text that the safety filter blocked, or would have blocked."""

CHECKED = models.Q(contract__isnull=False)
"""The condition of runs whose answer was checked by a contract."""


class Run(Parameters):
    """One executed operation, recorded at its end."""

    at = models.DateTimeField(default=timezone.now, db_index=True)
    source = models.CharField(max_length=20, choices=RunSource)
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    user = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    token = models.ForeignKey(
        "Token", models.PROTECT, null=True, blank=True, related_name="+", db_index=False, db_constraint=False
    )
    request_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 -- null as below
    template = models.ForeignKey("Template", models.PROTECT, null=True, blank=True, related_name="runs", db_index=False)
    version = models.ForeignKey("Version", models.PROTECT, null=True, blank=True, related_name="runs")
    draft_body = models.TextField(
        blank=True, help_text="The system prompt of a run on a draft, which no version keeps."
    )
    # Null, not "": SQLite adds a column that may be null without copying the table.
    draft_user_template = models.TextField(null=True, blank=True)  # noqa: DJ001
    draft_examples = models.TextField(null=True, blank=True)  # noqa: DJ001
    draft_answer_rules = models.TextField(null=True, blank=True)  # noqa: DJ001
    temperature = models.FloatField()
    max_tokens = models.PositiveIntegerField()
    count = models.PositiveSmallIntegerField(null=True, blank=True)
    revision = models.PositiveIntegerField()
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
    contract = models.CharField(  # noqa: DJ001
        max_length=10,
        null=True,  # a column with a default would copy the whole table on SQLite
        blank=True,
        choices=ContractOutcome,
        help_text="How the run met its answer's contract; None if nothing was checked.",
    )
    raw_masked = models.BooleanField(default=False, help_text="The answer as written is masked; output need not be.")
    public_id = models.UUIDField(
        null=True, blank=True, help_text="Its id in the answer to a machine, which does not wait until it is recorded."
    )

    class Meta:
        ordering = ["-id"]
        # One for each filter of the list, in the order of the list (platform.narrowing).
        indexes = [
            models.Index(fields=["template", "-id"], name="run_template"),
            models.Index(fields=["user", "-id"], name="run_user"),
            models.Index(fields=["token", "-id"], name="run_token", condition=models.Q(token__isnull=False)),
            models.Index(fields=["revision", "-id"], name="run_revision"),
            models.Index(fields=["operation", "-id"], name="run_operation"),
            models.Index(fields=["status", "-id"], name="run_status"),
            models.Index(fields=["source", "-id"], name="run_source"),
            models.Index(fields=["-id"], name="run_masked", condition=MASKED),
            models.Index(fields=["contract", "-id"], name="run_contract", condition=CHECKED),
            models.Index(fields=["public_id"], name="run_public_id", condition=models.Q(public_id__isnull=False)),
            # It has all columns that counting the outcomes of a template needs.
            models.Index(fields=["template", "version", "contract", "drill"], name="run_outcomes", condition=CHECKED),
        ]

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
    repair = models.BooleanField(
        null=True, help_text="It was sent a wrong answer and what is wrong with it. None: recorded before repairs."
    )
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status that meant failure.")

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["run", "position"], name="attempt_position_unique")]
        indexes = [models.Index(fields=["provider", "-run", "-position"], name="attempt_provider_newest")]

    def __str__(self) -> str:
        return f"attempt {self.position} of run {self.run_id}"


STOPS = models.Q(decision__gt="allow")
"""The condition of verdicts other than `allow`, which comes first in the alphabet. `<>` would not find their index."""

WAITS = models.Q(review="", queue__gt="")
"""The condition of verdicts that wait for a review. Erasing a run takes its verdicts out of the queue."""

REVIEWED = models.Q(review__gt="")
"""The condition of verdicts that people have reviewed."""


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
    distance = models.FloatField(
        null=True,
        blank=True,
        help_text="In log-odds, to the nearest threshold at which the verdict changes; None without scores.",
    )
    cause = models.CharField(max_length=10, blank=True, help_text="Why it was not judged: down, language or other.")
    language = models.CharField(max_length=60, blank=True, help_text="In English; empty if it is unclear.")
    second_score = models.FloatField(
        null=True, blank=True, help_text="The second stage's score as a share of its threshold; null if it gave none."
    )
    second_threshold = models.FloatField(
        null=True, blank=True, help_text="The threshold that `second_score` is a share of; null in older verdicts."
    )
    second_category = models.CharField(  # noqa: DJ001 -- a column without a default is added without rewriting the table
        max_length=20, null=True, blank=True, help_text='What it would block for; "" for nothing, null if not asked.'
    )
    disagreement = models.FloatField(
        null=True,
        blank=True,
        help_text="Between `score` and `second_score` if one blocks and one allows, else 0; None unless both are set.",
    )
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
            # The few that wait for a review or have one, so that no page reads the others.
            models.Index(fields=["-id"], name="safety_check_waiting", condition=WAITS),
            models.Index(fields=["queue", "-id"], name="safety_check_queue", condition=WAITS),
            models.Index(fields=["distance", "-id"], name="safety_check_distance", condition=WAITS),
            models.Index(fields=["queue", "distance", "-id"], name="safety_check_queue_distance", condition=WAITS),
            models.Index(fields=["-disagreement", "-id"], name="safety_check_disagreement", condition=WAITS),
            models.Index(fields=["queue", "-disagreement", "-id"], name="safety_check_queue_disagree", condition=WAITS),
            models.Index(fields=["model", "-id"], name="safety_check_reviewed", condition=REVIEWED),
            models.Index(fields=["-id"], name="safety_check_any_reviewed", condition=REVIEWED),
            models.Index(fields=["-id"], name="safety_check_disputed", condition=models.Q(review="disputed")),
            models.Index(fields=["-at"], name="safety_check_at"),
            models.Index(fields=["decision", "-run", "cause"], name="safety_check_decision", condition=STOPS),
        ]

    def __str__(self) -> str:
        return f"{self.side} of run {self.run_id}"

    @property
    def is_stopped(self) -> bool:
        """True if the text was blocked, or would have been in enforce mode. A report of it is an appeal."""
        return self.blocked or self.decision in ("block", "too_long")


class RunTotals(models.Model):
    """The totals of the deleted runs that are alike and ended in the same hour (UTC).

    Figures are those of living runs and of totals together. `latencies` counts runs by bucket of `stats.buckets`.
    Tokens and cost are those of all attempts; `cost` is None without prices.
    """

    hour = models.DateTimeField()
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS)
    template = models.ForeignKey("Template", models.PROTECT, null=True, related_name="+", db_index=False)
    version = models.ForeignKey("Version", models.PROTECT, null=True, related_name="+", db_index=False)
    revision = models.PositiveIntegerField()
    source = models.CharField(max_length=20, choices=RunSource)
    status = models.CharField(max_length=20, choices=RunStatus)
    provider = models.CharField(max_length=60, blank=True)
    is_drill = models.BooleanField(default=False)
    runs = models.PositiveIntegerField(default=0)
    fallbacks = models.PositiveIntegerField(default=0)
    truncated = models.PositiveIntegerField(default=0)
    masked = models.PositiveIntegerField(default=0, help_text="Runs with a text that the safety filter masked.")
    attempts = models.PositiveIntegerField(default=0)
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost = models.FloatField(null=True)
    cost_estimated = models.PositiveIntegerField(default=0, help_text="Runs whose cost is an estimate.")
    latencies = models.JSONField(default=dict)
    # By `ContractOutcome`; runs without a checked answer are in none of them.
    at_once = models.PositiveIntegerField(default=0)
    fell_back = models.PositiveIntegerField(default=0)
    repaired = models.PositiveIntegerField(default=0)
    breached = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["hour"], name="run_totals_hour"),
            models.Index(fields=["revision"], name="run_totals_revision"),
            models.Index(fields=["template", "version"], name="run_totals_template"),
        ]

    def __str__(self) -> str:
        return f"{self.runs} runs of {self.operation}, {self.hour:%Y-%m-%d %H:00}"


class RunExpiry(models.Model):
    """One pass over old runs, which erases or deletes them in batches. It is open until it ends or the server stops.

    Each batch locks the row and raises `batches`, so that two processes never work on the same pass at once.
    """

    kind = models.CharField(max_length=10, choices=ExpiryKind)
    days = models.PositiveIntegerField(help_text="The setting at that time.")
    batches = models.PositiveIntegerField(default=0)
    runs = models.PositiveIntegerField(default=0)
    first_run = models.BigIntegerField(null=True, help_text="The lowest id of these runs.")
    last_run = models.BigIntegerField(null=True, help_text="The highest id of these runs.")
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind"], condition=models.Q(ended_at=None), name="run_expiry_one_at_a_time")
        ]

    def __str__(self) -> str:
        return f"{self.kind} runs older than {self.days} days"

    @property
    def at(self) -> datetime:
        """Return when it ended, or when it began."""
        return self.ended_at or self.started_at


class ReportBatch(models.Model):
    """A batch of reports that is counted already. A server sends a batch again if it got no answer."""

    id = models.UUIDField(primary_key=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return str(self.pk)


class ReportedRuns(models.Model):
    """The runs that one server made itself and reported, as far as they are alike and ended in the same hour (UTC).

    They are in no other figure. `template` is a name and `version` its number, as the server reported them. A status of
    "" counts runs that the server did not report, because too many waited. `latencies` are as those of `RunTotals`.
    """

    hour = models.DateTimeField()
    server = models.CharField(max_length=100)
    operation = models.CharField(max_length=MAX_NAME_CHARACTERS, blank=True)
    template = models.CharField(max_length=100, blank=True)
    version = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=20, choices=RunStatus, blank=True)
    runs = models.PositiveBigIntegerField(default=0)
    fallbacks = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveBigIntegerField(default=0)
    latencies = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "server", "operation", "template", "version", "status"], name="reported_runs_alike"
            )
        ]
        indexes = [models.Index(fields=["template", "hour"], name="reported_runs_template")]

    def __str__(self) -> str:
        return f"{self.runs} runs of {self.operation} on {self.server}, {self.hour:%Y-%m-%d %H:00}"
