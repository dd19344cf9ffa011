"""Access of machines: every route depends on `needs(...)`, and one test asks all routes to prove it.

A token is the only way in. Sessions and cookies open nothing here.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from promptops.api import limits
from promptops.api.problems import Problem, later
from promptops.ledger.audit import Actor
from promptops.people import tokens
from promptops.people.enums import Scope
from promptops.people.tokens import InvalidToken, TokenIdentity, TokensUnavailable
from promptops.platform import outages
from promptops.platform.addresses import client_network, socket_address
from promptops.platform.requests import facts

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="PromptOps"'}
MISSING = "Send your token in the header `Authorization: Bearer po_...`. An administrator makes tokens."

bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token of the Tokens page: `po_...`")


@dataclass(frozen=True)
class Caller:
    """The token that calls, the address it comes from, and the id of the request."""

    token: TokenIdentity
    address: str
    request_id: str

    @property
    def actor(self) -> Actor:
        """Return the token as the audit names it."""
        return self.token.actor(self.address, self.request_id)


class Needs:
    """A dependency of a route: the caller has a usable token with one of the scopes, and quota left."""

    def __init__(self, *scopes: Scope) -> None:
        self.scopes = scopes

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> Caller:
        caller = Caller(
            token=await _verified(request, credentials),
            address=socket_address(dict(request.scope)),
            request_id=facts().id,
        )
        facts().token = caller.token.name
        policy = limits.policy_of(self.scopes[0])
        taken = limits.by_token.take(caller.token.id, policy)
        request.state.headers = taken.headers
        if not taken.allowed:
            detail = f"The token has used up its {policy.quota:,} requests in {policy.seconds} seconds."
            raise later("rate-limited", f"{detail} Wait {taken.retry_seconds} seconds.", taken.retry_seconds)
        if not caller.token.scopes.intersection(self.scopes):
            raise Problem(403, "scope-missing", _scope_missing(self.scopes), scopes=[*self.scopes])
        return caller


def needs(*scopes: Scope) -> Needs:
    """Return the dependency for routes that one of the scopes opens: `Annotated[Caller, Depends(needs(Scope.READ))]`.

    The first scope decides which quota counts.
    """
    return Needs(*scopes)


async def _verified(request: Request, credentials: HTTPAuthorizationCredentials | None) -> TokenIdentity:
    if credentials is None or len(request.headers.getlist("authorization")) != 1:
        raise Problem(401, "token-missing", MISSING, headers=CHALLENGE)
    text = credentials.credentials
    try:
        if tokens.remembered(text) is None:
            network = client_network(socket_address(dict(request.scope)))
            taken = limits.by_network.take(network, limits.UNVERIFIED)
            if not taken.allowed:
                detail = "Too many unknown tokens come from your network. Try again later."
                raise later("rate-limited", detail, taken.retry_seconds)
        return await tokens.verify(text)
    except InvalidToken as error:
        challenge = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="invalid_token"'}
        raise Problem(401, "token-invalid", str(error), headers=challenge) from None
    except TokensUnavailable as error:
        raise later("unavailable", str(error), outages.RETRY_SECONDS) from None


def _scope_missing(scopes: tuple[Scope, ...]) -> str:
    words = " or ".join(scopes)
    return f"The token lacks the scope {words}. Ask an administrator for a token with it."
