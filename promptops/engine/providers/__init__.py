"""Providers: the classes that call language models, and the kinds that operators choose from.

The order of the calls and the consequences of an error do not belong here.
"""

from promptops.engine.providers.kinds import KINDS, KindSpec, build_provider, kind_spec, register_kind

__all__ = ["KINDS", "KindSpec", "build_provider", "kind_spec", "register_kind"]
