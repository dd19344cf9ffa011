"""The closed sets of words about people: roles, permissions, and one-time links."""

from django.db import models


class Role(models.TextChoices):
    """The role of a person. Each role may do everything that the roles before it may (see permissions.py)."""

    VIEWER = "viewer", "Viewer"
    EDITOR = "editor", "Editor"
    RELEASER = "releaser", "Releaser"
    ADMINISTRATOR = "administrator", "Administrator"


class Permission(models.TextChoices):
    """A permission that a view or a socket message can require."""

    READ = "read", "Read prompts, providers, comparisons, runs, safety, the fleet, the timeline, the audit and settings"
    EDIT = (
        "edit",
        "Write drafts and prompt sets, run previews, test providers, compare and vote, see and review blocked texts",
    )
    RELEASE = (
        "release",
        "Change what is live: publish, roll back, operations, variables, templates, safety, the provider chain",
    )
    ADMINISTER = (
        "administer",
        "Users, roles, tokens, providers and their keys, settings, erasing runs, removing servers, alerts",
    )


class LinkPurpose(models.TextChoices):
    """The purpose of a one-time link."""

    SETUP = "setup", "create the first administrator"
    JOIN = "join", "create an account"
    PASSWORD = "password", "set a new password"


class Scope(models.TextChoices):
    """A scope of a token: which routes of the machine interface it opens."""

    READ = "read", "Read what is live, templates, revisions, operations and servers"
    FOLLOW = "follow", "Follow what is live: the socket of servers, their reports, reloading"
    RUN = "run", "Run operations and the OpenAI-compatible routes, and open sessions"
    RELEASE = "release", "Publish and roll back templates"
    AUDIT = "audit", "Read the audit"


NAME_TAKEN = "the user name is taken"
"""Why single sign-on refused somebody, in the audit. The person's page offers to link the account."""
