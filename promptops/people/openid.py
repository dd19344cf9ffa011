"""OpenID Connect: the provider's documents, the address of its sign-in page, and the verified claims of a person.

Authlib speaks the protocol and joserfc verifies signatures; all requests go through `engine.http`. Accounts, roles and
the audit belong to `actions.sign_on`. No error and no log line here holds a code, a token or the client's secret.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from asgiref.sync import async_to_sync
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from django.conf import settings
from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from promptops.engine.http import CallFailed, fetch
from promptops.engine.providers.key_variables import is_loopback

log = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""The signatures that are accepted: those with a public key. So `none` and HMAC are refused."""

CALL_SECONDS = 5.0
MAX_BYTES = 512 * 1024
"""The longest document or answer that is read."""
KEEP_SECONDS = 3600.0
"""The age at which the provider's documents are fetched again."""
WAIT_SECONDS = 2.0
"""Seconds for which a sign-in waits while another one fetches the documents."""
RETRY_SECONDS = 5.0
"""The time for which a failure is remembered, and the least time between two fetches of the keys."""
LEEWAY_SECONDS = 60
"""The most that the clocks of the provider and of this server may differ."""
MAX_ID_TOKEN = 16 * 1024
"""Characters. A longer token is not kept for the sign-out."""


class SignOnFailed(Exception):
    """A sign-in that the provider or its answer made impossible. The message is for the person, in sentences."""


class ProviderUnavailable(SignOnFailed):
    """The provider cannot be reached, or its documents cannot be used. The person can try again."""


class TokenRefused(SignOnFailed):
    """The provider sent a token that does not prove who the person is. `reason` is a phrase for the audit."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class SignedOn:
    """The verified claims of a person, and their ID token, which the provider wants to see again at sign-out."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]
    id_token: str = field(repr=False)

    @property
    def groups(self) -> frozenset[str]:
        """The groups in the claim OIDC_GROUPS_CLAIM. A claim may be inside another one: realm_access.roles."""
        value: Any = self.claims.get(settings.OIDC_GROUPS_CLAIM)
        if value is None:
            value = self.claims
            for name in settings.OIDC_GROUPS_CLAIM.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return frozenset(name for name in names if isinstance(name, str))


@dataclass(frozen=True)
class _Documents:
    """The provider's metadata and keys, and when they were fetched, by the monotonic clock."""

    metadata: Mapping[str, Any]
    keys: KeySet
    at: float


@dataclass
class _Cache:
    documents: _Documents | None = None
    issuer: str = ""
    failure: ProviderUnavailable | None = None
    failed_at: float = 0.0


_cache = _Cache()
_lock = threading.Lock()


def forget() -> None:
    """Forget the provider's documents; the next sign-in fetches them."""
    global _cache
    _cache = _Cache()


def authorization_url(redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
    """Return the address of the provider's sign-in page for this attempt. Raises ProviderUnavailable."""
    endpoint = _endpoint(_documents().metadata, "authorization_endpoint")
    url, _ = _client(redirect_uri).create_authorization_url(endpoint, state=state, code_verifier=verifier, nonce=nonce)
    return str(url)


def signed_on(code: str, redirect_uri: str, *, nonce: str, verifier: str) -> SignedOn:
    """Exchange a code for the verified claims of a person. Raises SignOnFailed."""
    documents = _documents()
    try:
        token = _client(redirect_uri, documents.metadata).fetch_token(
            _endpoint(documents.metadata, "token_endpoint"),
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
        )
    except OAuth2Error as error:
        log.warning("The identity provider refused a code: %s", _plain(error.error))
        raise SignOnFailed(
            f"The identity provider did not accept this sign-in ({_plain(error.error)}). Try again. If it happens "
            "again, ask an administrator to check the client's id and secret."
        ) from None
    except ValueError:
        raise _unusable("token answer is not JSON") from None
    id_token = token.get("id_token")
    if not isinstance(id_token, str):
        raise _unusable("answer has no ID token")
    claims = _verified(id_token, documents, nonce=nonce, access_token=token.get("access_token"))
    claims = _with_userinfo(claims, documents.metadata, str(token.get("access_token") or ""))
    kept = id_token if len(id_token) <= MAX_ID_TOKEN else ""
    return SignedOn(settings.OIDC_ISSUER.rstrip("/"), str(claims["sub"]), claims, kept)


def sign_out_url(id_token: str, back_to: str) -> str:
    """Return the address where the provider's own session ends, or "" if the provider offers none or is unavailable."""
    try:
        metadata = _documents().metadata
        endpoint = _endpoint(metadata, "end_session_endpoint") if "end_session_endpoint" in metadata else ""
    except ProviderUnavailable:
        return ""
    if not endpoint:
        return ""
    query = {"client_id": settings.OIDC_CLIENT_ID, "post_logout_redirect_uri": back_to}
    query |= {"id_token_hint": id_token} if id_token else {}
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"


def _client(redirect_uri: str, metadata: Mapping[str, Any] | None = None) -> OAuth2Client:
    methods = (metadata or {}).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
    return OAuth2Client(
        session=_Session(),
        client_id=settings.OIDC_CLIENT_ID,
        client_secret=settings.OIDC_CLIENT_SECRET or None,
        token_endpoint_auth_method=method if settings.OIDC_CLIENT_SECRET else "none",
        scope=" ".join(settings.OIDC_SCOPES),
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )


@dataclass(frozen=True)
class _Answer:
    """An answer as Authlib reads it."""

    status_code: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise _unusable(f"answer has the status {self.status_code}")


class _Session:
    """Sends Authlib's token request through `engine.http`."""

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _Answer:
        url, signed, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        return _call("POST", url, headers=signed, content=body.encode())


def _call(method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes = b"") -> _Answer:
    """Send one request within the limits of time and size. Raises ProviderUnavailable."""

    async def limited() -> _Answer:
        async with asyncio.timeout(CALL_SECONDS):
            body = bytearray()
            async with await fetch(method, url, headers=headers or {}, content=content) as reply:
                async for chunk in reply.chunks():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise CallFailed(f"sent more than {MAX_BYTES // 1024} KiB")
            return _Answer(reply.status, bytes(body))

    try:
        return async_to_sync(limited)()
    except TimeoutError:
        reason = "did not answer in time"
    except CallFailed as failed:
        reason = failed.reason
    log.warning("The identity provider %s.", reason)
    raise ProviderUnavailable(
        f"The identity provider {reason}. Wait a moment, then try again. If it stays so, tell an administrator."
    )


def _json(url: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    answer = _call("GET", url, headers=headers)
    answer.raise_for_status()
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _unusable("document is not JSON")
    return document


def _unusable(what: str) -> ProviderUnavailable:
    log.warning("The identity provider's %s.", what)
    return ProviderUnavailable(
        f"The identity provider's {what}. Try again. If it happens again, ask an administrator to check OIDC_ISSUER."
    )


def _documents(*, newer_than: float | None = None) -> _Documents:
    """Return the provider's documents, from memory if they are young. One thread fetches, the others wait for it.

    With `newer_than`, a time of the monotonic clock, documents of that time are fetched again.
    """
    if not _lock.acquire(timeout=WAIT_SECONDS):  # no more threads than one wait for a provider that hangs
        raise ProviderUnavailable("The identity provider does not answer. Wait a moment, then try again.")
    try:
        now = time.monotonic()
        if _cache.issuer != settings.OIDC_ISSUER:
            forget()
        present = _cache.documents
        if present and now - present.at < KEEP_SECONDS and (newer_than is None or present.at > newer_than):
            return present
        if _cache.failure and now - _cache.failed_at < RETRY_SECONDS:
            raise ProviderUnavailable(str(_cache.failure))
        try:
            _cache.issuer = settings.OIDC_ISSUER
            _cache.documents, _cache.failure = _fetched(), None
        except ProviderUnavailable as failure:
            _cache.failure, _cache.failed_at = failure, time.monotonic()
            raise
        return _cache.documents
    finally:
        _lock.release()


def _fetched() -> _Documents:
    issuer = settings.OIDC_ISSUER.rstrip("/")
    metadata = _json(f"{issuer}/.well-known/openid-configuration")
    if str(metadata.get("issuer", "")).rstrip("/") != issuer:
        raise _unusable("document names another issuer")
    try:
        keys = KeySet.import_key_set(_json(_endpoint(metadata, "jwks_uri")))  # type: ignore[arg-type]
    except (JoseError, ValueError, KeyError, TypeError):
        raise _unusable("keys cannot be read") from None
    return _Documents(metadata, keys, time.monotonic())


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    """Return an address of the metadata: with TLS, or on this machine."""
    url = metadata.get(name)
    parts = urlsplit(url) if isinstance(url, str) else None
    if (
        parts
        and parts.hostname
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname)))
    ):
        return parts.geturl()
    raise _unusable(f"document has no usable {name}")


def _verified(id_token: str, documents: _Documents, *, nonce: str, access_token: Any) -> dict[str, Any]:
    """Return the claims of an ID token whose signature, issuer, audience, times and nonce are right."""
    try:
        token = _decoded(id_token, documents)
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": documents.metadata["issuer"]},
                "aud": {"essential": True, "value": settings.OIDC_CLIENT_ID},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": nonce},
            },
            {"nonce": nonce, "client_id": settings.OIDC_CLIENT_ID, "access_token": access_token},
        )
        claims.validate(leeway=LEEWAY_SECONDS)
    except ExpiredTokenError:
        raise TokenRefused(
            "the token has expired",
            "The identity provider sent a token that has expired. Ask an administrator to compare the clocks of the "
            "provider and of this server.",
        ) from None
    except ClaimError as error:
        raise _refused_claim(error) from None
    except (JoseError, ValueError) as error:
        reason = getattr(error, "error", "") or "invalid token"
        raise TokenRefused(
            f"the token cannot be verified ({reason})",
            f"The token of the identity provider cannot be verified ({reason}). Ask an administrator to check the "
            "provider's keys and signature algorithm.",
        ) from None
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise _refused_claim(InvalidClaimError("sub"))
    return dict(claims)


def _decoded(id_token: str, documents: _Documents) -> jwt.Token:
    """Verify the signature. If no key fits, the provider may have changed its keys: fetch them once more."""
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    try:
        return jwt.decode(id_token, documents.keys, registry=registry)
    except (JoseError, ValueError):
        if time.monotonic() - documents.at < RETRY_SECONDS:
            raise
        return jwt.decode(id_token, _documents(newer_than=documents.at).keys, registry=registry)


def _refused_claim(error: ClaimError) -> TokenRefused:
    claim = error.claim
    if claim in ("iat", "nbf", "exp"):
        return TokenRefused(
            "the clocks differ",
            "The clocks of the identity provider and of this server differ by more than a minute. Ask an administrator "
            "to set them.",
        )
    if claim in ("aud", "azp"):
        return TokenRefused(
            "the token is for another client",
            "The identity provider sent a token for another application. Ask an administrator to check OIDC_CLIENT_ID.",
        )
    return TokenRefused(
        f"the token's {claim} is wrong",
        f"The identity provider sent a token whose {claim} is wrong. Go back to the sign-in page and start again.",
    )


def _with_userinfo(claims: dict[str, Any], metadata: Mapping[str, Any], access_token: str) -> dict[str, Any]:
    """Return the claims with those of the userinfo endpoint, if the ID token lacks the name or needed groups."""
    has_groups = bool({settings.OIDC_GROUPS_CLAIM, settings.OIDC_GROUPS_CLAIM.split(".")[0]} & set(claims))
    is_complete = "name" in claims and (has_groups or not any(settings.OIDC_GROUPS.values()))
    if is_complete or not access_token or "userinfo_endpoint" not in metadata:
        return claims
    url = _endpoint(metadata, "userinfo_endpoint")
    more = _json(url, headers={"Authorization": f"Bearer {access_token}"})
    if more.get("sub") != claims["sub"]:
        raise _refused_claim(InvalidClaimError("sub"))
    return {**more, **claims}


def _plain(text: Any) -> str:
    """Return an error code of the protocol, such as access_denied; anything else as "error"."""
    return text if isinstance(text, str) and 0 < len(text) <= 60 and text.replace("_", "").isalnum() else "error"
