"""A real OpenID Connect provider on loopback, whose answers a test can spoil."""

import io
import json
import logging
import secrets
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.test import Client
from django.urls import reverse
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from werkzeug.wrappers import Request, Response

Claims = dict[str, Any]
Spoil = Callable[[Claims], Claims]


class Provider:
    """Stands between the server and the provider. With `spoil` it signs changed claims with a key of its own."""

    def __init__(self, app: Any, port: int) -> None:
        self.app = app
        self.issuer = f"http://localhost:{port}"
        self.reset()

    def reset(self) -> None:
        """Answer as the provider does."""
        self.spoil: Spoil | None = None
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})
        self.signs_with: RSAKey | None = None  # in place of the published key
        self.algorithm = "RS256"
        self.is_down = False
        self.metadata: Claims = {}
        self.asked: list[str] = []
        self.form: dict[str, str] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        self.asked.append(request.path)
        if self.is_down:
            return Response(status=503)(environ, start_response)
        if request.path == "/oauth2/token":
            body = request.get_data()
            self.form = request.form.to_dict() or dict(httpx.QueryParams(body.decode()))
            environ["wsgi.input"] = io.BytesIO(body)
        response = Response.from_app(self.app, environ)
        self._change(request.path, response)
        return response(environ, start_response)

    def rotate(self) -> None:
        """Sign with a new key from now on, and publish only that one."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})

    def person(self, subject: str, **claims: Any) -> str:
        """Make a person at the provider, and return the subject."""
        httpx.put(f"{self.issuer}/users/{subject}", json=claims).raise_for_status()
        return subject

    def answer(self, url: str, subject: str) -> str:
        """Sign in at the provider as a browser would; return the path with which it sends the browser back."""
        form = {"sub": subject} if subject else {"action": "deny"}
        answer = httpx.post(url, data=form)
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}"

    def sign_on(self, client: Client, subject: str, target: str = "/") -> Any:
        """Sign in through the pages. Return the answer to the way back."""
        begun = client.get(reverse("oidc"), {"next": target})
        assert begun.status_code == 302, begun.content
        return client.get(self.answer(begun["Location"], subject))

    def _change(self, path: str, response: Response) -> None:
        if path == "/.well-known/openid-configuration":
            self._set(response, {**json.loads(response.get_data()), **self.metadata})
        elif path == "/jwks" and self.spoil:
            self._set(response, {"keys": [self.key.as_dict(private=False)]})
        elif path == "/oauth2/token" and self.spoil and response.status_code == 200:
            token = json.loads(response.get_data())
            payload = token["id_token"].split(".")[1]
            claims = self.spoil(json.loads(_decoded(payload)))
            self._set(response, {**token, "id_token": self._signed(claims)})

    def _signed(self, claims: Claims) -> str:
        key = self.signs_with or self.key
        if self.algorithm != "RS256":
            key = OctKey.import_key("a secret that a stranger could know " * 2)
        registry = JWSRegistry(algorithms=["RS256", "HS256", "none"])
        header = {"alg": self.algorithm, "kid": self.key.kid}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jwt.encode(header, claims, key, registry=registry)

    @staticmethod
    def _set(response: Response, value: Claims) -> None:
        response.set_data(json.dumps(value))


def _decoded(part: str) -> bytes:
    from joserfc.util import urlsafe_b64decode

    return urlsafe_b64decode(part.encode())


def unchanged(claims: Claims) -> Claims:
    """Spoil nothing, but sign with the key of `Provider`."""
    return claims


def changed(**values: Any) -> Spoil:
    """Return a spoiler that sets these claims; numbers are seconds from now."""
    return lambda claims: (
        claims | {name: int(time.time()) + value if isinstance(value, int) else value for name, value in values.items()}
    )


@contextmanager
def running() -> Iterator[Provider]:
    """Run a provider."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("oidc_provider_mock").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the provider uses deprecated parts of Authlib
        from oidc_provider_mock import run_server_in_thread
    with run_server_in_thread() as server:
        provider = Provider(server.app, server.server_port)
        server.app = provider
        yield provider
