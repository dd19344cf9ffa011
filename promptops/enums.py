"""The closed sets of words that models, actions and pages share."""

from django.db import models

from promptops.engine.types import PromptOperation


class Role(models.TextChoices):
    """What a person may do; each role may do all that the ones before it may (see permissions.py)."""

    VIEWER = "viewer", "Viewer"
    EDITOR = "editor", "Editor"
    RELEASER = "releaser", "Releaser"
    ADMINISTRATOR = "administrator", "Administrator"


class Permission(models.TextChoices):
    """What a view or a socket message can ask for."""

    READ = "read", "Read every page"
    EDIT = "edit", "Write drafts and prompt sets, run previews and test providers"
    RELEASE = (
        "release",
        "Change what is live: publish, roll back, variables, templates, provider order, turn providers on and off",
    )
    ADMINISTER = "administer", "Users, roles, providers and their keys, settings, erasing runs"


class LinkPurpose(models.TextChoices):
    """What a one-time link is for."""

    SETUP = "setup", "create the first administrator"
    JOIN = "join", "create an account"
    PASSWORD = "password", "set a new password"


class ProviderKind(models.TextChoices):
    """The kinds of provider that the engine's registry knows."""

    CEREBRAS = "cerebras", "Cerebras"
    GROQ = "groq", "Groq"
    OPENAI = "openai", "OpenAI-compatible"
    LOCAL = "local", "Local (embedded model)"


class RunSource(models.TextChoices):
    """What asked for a run."""

    PREVIEW = "preview", "Preview"
    TEST = "test", "Provider test"
    COMPARISON = "comparison", "Comparison"


class RunStatus(models.TextChoices):
    """How a run ended."""

    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"


class ComparisonState(models.TextChoices):
    """Where a comparison is."""

    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    CANCELED = "canceled", "Canceled"
    DONE = "done", "Done"


class TrialState(models.TextChoices):
    """Where one trial of a comparison is."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"


class Choice(models.TextChoices):
    """What a voter said of two answers; which arms these are is in the vote."""

    FIRST = "first", "The first"
    SECOND = "second", "The second"
    TIE = "tie", "Tie"
    NEITHER = "neither", "Neither is good"


OPERATION_CHOICES = [(operation.value, operation.value) for operation in PromptOperation]
