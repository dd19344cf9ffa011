"""Rules for environment variables as keys: which ones may hold a key, and to which hosts each one may be sent.

An administrator who edits providers decides where a key is sent. Without these rules that person could send any
variable of the server, such as a cloud credential, to a server of their own. Streaming servers that follow an
installation apply the same rules, so that the installation cannot send their variables anywhere either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from promptops.engine.addresses import AllowList, allow_list, numeric_address, plain_address
from promptops.engine.providers.kinds import KINDS

SETTING = "PROVIDER_KEY_VARIABLES"

SUFFIX = "_API_KEY"
"""The ending of a variable that holds a key for an API, by the vendors' own convention."""

NEVER = frozenset(
    {"SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "REDIS_URL", "OIDC_CLIENT_SECRET", "ADMIN_PASSWORD"}
    | {"EMAIL_URL", "METRICS_TOKEN"}
)
"""PromptOps' own secrets. No setting permits them as a provider's key."""

OTHER_VENDORS: Mapping[str, str] = MappingProxyType(
    {
        "ANTHROPIC_API_KEY": "api.anthropic.com",
        "DEEPSEEK_API_KEY": "api.deepseek.com",
        "FIREWORKS_API_KEY": "api.fireworks.ai",
        "GEMINI_API_KEY": "generativelanguage.googleapis.com",
        "MISTRAL_API_KEY": "api.mistral.ai",
        "OPENAI_API_KEY": "api.openai.com",
        "OPENROUTER_API_KEY": "openrouter.ai",
        "TOGETHER_API_KEY": "api.together.xyz",
        "XAI_API_KEY": "api.x.ai",
    }
)
"""The variables that other vendors' own libraries read, and the host that each library calls."""


def vendor_hosts() -> Mapping[str, str]:
    """Return the only host of each vendor's variable, for the provider kinds and for other vendors."""
    return {**OTHER_VENDORS, **{kind.key_env: kind.host for kind in KINDS.values() if kind.key_env and kind.host}}


@dataclass(frozen=True)
class Permitted:
    """The variables that the setting names, each with its permitted hosts, or `None` for any host."""

    hosts: Mapping[str, AllowList | None]

    @classmethod
    def read(cls, entries: Collection[str]) -> Permitted:
        """Read entries `NAME` and `NAME=host`. Raises `ValueError` for an invalid entry."""
        hosts: dict[str, list[str] | None] = {}
        for entry in entries:
            name, equals, host = (part.strip() for part in entry.partition("="))
            if not name.isidentifier() or (equals and not host):
                raise ValueError(f"{SETTING} has the invalid entry {entry!r}. Write NAME or NAME=host.")
            if name in NEVER:
                raise ValueError(f"{SETTING} names {name}, which is a secret of PromptOps itself. Remove the entry.")
            known = hosts.get(name, [])
            hosts[name] = None if not equals or known is None else [*known, host]
        return cls({name: allow_list(names) if names is not None else None for name, names in hosts.items()})

    def problem(self, variable: str, base_url: str) -> str | None:
        """Return why the variable's value is not sent to the address, in sentences; `None` if it may be sent.

        The answer never depends on whether the variable is set.
        """
        if variable.upper() in NEVER:
            return f"{variable} is a secret of PromptOps itself. Enter the name of the provider's variable."
        host = (urlsplit(base_url).hostname or "").lower().rstrip(".")
        vendor_host = vendor_hosts().get(variable)
        if variable in self.hosts:
            listed = self.hosts[variable]
            if listed is None or listed.covers(host) or is_loopback(host) or host == vendor_host:
                return None
            return f"{variable} is not sent to {host}. {_remedy(f'{variable}={host}')}"
        if vendor_host is not None and host != vendor_host and not is_loopback(host):
            return f"{variable} is only sent to {vendor_host}, not to {host}. {_remedy(f'{variable}={host}')}"
        if variable.endswith(SUFFIX):
            return None
        return f"{variable} is not sent: the name of a key's variable ends in {SUFFIX}. {_remedy(f'{variable}={host}')}"


def _remedy(entry: str) -> str:
    return f"To permit it, add {entry} to {SETTING} in the server's environment and restart the server."


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address, is this machine."""
    address = numeric_address(host)
    return host == "localhost" if address is None else plain_address(address).is_loopback
