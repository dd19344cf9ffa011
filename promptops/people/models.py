"""People, their sessions, accounts at an identity provider, second steps and one-time links; tokens of machines."""

import re
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.validators import ASCIIUsernameValidator
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from promptops.people.enums import LinkPurpose, Permission, Role
from promptops.people.permissions import allows

USERNAME = re.compile(r"[a-z0-9@.+_-]{1,60}")
MACHINE_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z"
MACHINE_NAME_RULE = "Use up to 40 letters, digits and . _ - for the name of a token, and begin with a letter or digit."
SERVER_NAME = r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,59}\Z"
SERVER_NAME_RULE = (
    "Use up to 60 letters, digits and . _ : - for the name of a server, and begin with a letter or digit."
)


def canonical_username(typed: str) -> str:
    """Return the one spelling under which a user name is looked up and counted, or "" if it is invalid.

    Capital ASCII letters become small ones. Any other character outside a-z, 0-9 and @ . + - _ is refused, not
    folded: a dotless i or a fullwidth letter is another name here, but the same one to a database's UPPER.
    """
    name = typed.strip()
    return name.lower() if name.isascii() and USERNAME.fullmatch(name.lower()) else ""


class UserManager(BaseUserManager["User"]):
    """The manager of people: finds them by user name, in any case."""

    def named(self, typed: str) -> "models.QuerySet[User]":
        """Return a query for the person with this user name; it is empty if there is none."""
        name = canonical_username(typed)
        return self.filter(username__iexact=name) if name else self.none()

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.named(username or "").get()


class User(AbstractBaseUser):
    """A person who signs in. People are deactivated, never deleted: versions and audit entries refer to them."""

    username = models.CharField(
        "user name",
        max_length=60,
        validators=[ASCIIUsernameValidator()],
        error_messages={"unique": "That user name is taken. Choose another."},
    )
    name = models.CharField("full name", max_length=100)
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)
    is_active = models.BooleanField("active", default=True)
    joined_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "username"
    objects = UserManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="user_username_unique",
                violation_error_message="That user name is taken. Choose another.",
            ),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="user_role_known"),
        ]

    def __str__(self) -> str:
        return self.name

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise ValidationError("A person cannot be deleted: the audit names them. Deactivate them instead.")

    def may(self, permission: Permission) -> bool:
        """Return whether this person has the permission now. Deactivated people have none."""
        return self.is_active and allows(self.role, permission)


class UserSession(models.Model):
    """A session of a person. It is deleted with its Django session: at sign-out, when it is ended, when it expires.

    Pages and addresses use its own id. The session's key is as good as a password and is never shown.
    """

    session = models.OneToOneField(Session, models.CASCADE, related_name="+")
    user = models.ForeignKey(User, models.CASCADE, related_name="sessions")
    signed_in_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    browser = models.CharField(max_length=60)
    address = models.CharField(max_length=45, blank=True)

    class Meta:
        ordering = ["-seen_at", "-id"]

    def __str__(self) -> str:
        return f"{self.browser}, {self.address or 'unknown address'}"


class Identity(models.Model):
    """A person's account at an identity provider. The issuer and the subject name it; an e-mail address never does."""

    user = models.OneToOneField(User, models.CASCADE, related_name="identity")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    linked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="identity_unique")]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class SecondStep(models.Model):
    """A person's app for one-time codes (RFC 6238), once a code has confirmed it."""

    user = models.OneToOneField(User, models.CASCADE, related_name="second_step")
    secret_encrypted = models.TextField(
        help_text="Empty if no known secret key decrypted it; recovery codes still work."
    )
    last_step = models.BigIntegerField(help_text="The 30-second step of the last accepted code, which counts once.")
    made_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"second step of {self.user_id}"


class RecoveryCode(models.Model):
    """A code that replaces the app once. Only the SHA-256 of its 80 random bits is stored."""

    second_step = models.ForeignKey(SecondStep, models.CASCADE, related_name="recovery_codes")
    code_sha256 = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["second_step", "code_sha256"], name="recovery_code_unique")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


class OneTimeLink(models.Model):
    """A link that works once and for a limited time. Only the SHA-256 of its token is stored."""

    purpose = models.CharField(max_length=20, choices=LinkPurpose)
    token_sha256 = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=20, choices=Role)
    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="links")
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"link to {self.get_purpose_display()}"

    @property
    def usable(self) -> bool:
        """True while the link is neither used nor expired."""
        return self.used_at is None and self.expires_at > timezone.now()


class Token(models.Model):
    """The credentials of a machine. Only the SHA-256 of its text is stored.

    Tokens are revoked, never deleted: the audit refers to them.
    A rotated token is a second row of the same name: `replaces` is the older one, which works until it expires.
    """

    name = models.CharField(max_length=40, validators=[RegexValidator(MACHINE_NAME, MACHINE_NAME_RULE)])
    token_sha256 = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField()
    server = models.CharField(
        max_length=60,
        blank=True,
        validators=[RegexValidator(SERVER_NAME, SERVER_NAME_RULE)],
        help_text="The only server that may use the token; empty for any.",
    )
    made_by = models.ForeignKey("User", models.PROTECT, null=True, blank=True, related_name="tokens")
    made_by_name = models.CharField(max_length=100)
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    replaces = models.OneToOneField("self", models.PROTECT, null=True, blank=True, related_name="replaced_by")
    changed_in = models.PositiveBigIntegerField(
        default=0, db_index=True, help_text="The audit entry of its last change; processes watch the newest one."
    )

    def __str__(self) -> str:
        return self.name

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        raise ValidationError("A token cannot be deleted: the audit names it. Revoke it instead.")

    def is_usable(self, now: datetime) -> bool:
        """Return whether the token is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)
