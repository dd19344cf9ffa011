"""The engine: prompt operations over a chain of language models. Needs no Django."""

from promptops.engine.chain import AttemptFailed, AttemptStarted, ChainEvent, RunDone, complete_chain, run_chain
from promptops.engine.enhancer import BUILT_IN_PROMPTS, PromptEnhancer, build_request
from promptops.engine.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMContextLengthError,
    LLMEmptyError,
    LLMInterruptedError,
    LLMMalformedError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProviderError,
    LLMRateLimitedError,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMUnavailableError,
    LLMUnexpectedError,
)
from promptops.engine.http import close_client, use_transport
from promptops.engine.providers import KINDS, build_provider, register_kind
from promptops.engine.providers.cerebras import CerebrasProvider
from promptops.engine.providers.groq import GroqProvider
from promptops.engine.providers.local import LocalProvider, local_available
from promptops.engine.providers.openai_compatible import OpenAICompatibleProvider
from promptops.engine.rewrite import RewriteOptions, RewriteResult, build_rewrite, parse_alternatives
from promptops.engine.safety import PromptSafetyFilter, SafetyDecision, SafetyResult, first_blocked
from promptops.engine.snapshot import ProviderSpec, SettingsSpec, Snapshot, TemplateSpec
from promptops.engine.types import (
    Attempt,
    LLMMessage,
    LLMProvider,
    LLMRequest,
    LLMResponse,
    PromptOperation,
    StreamEvent,
    StreamingProvider,
    TextChunk,
    Usage,
)

__all__ = [
    "BUILT_IN_PROMPTS",
    "KINDS",
    "Attempt",
    "AttemptFailed",
    "AttemptStarted",
    "CerebrasProvider",
    "ChainEvent",
    "GroqProvider",
    "LLMAuthError",
    "LLMBadRequestError",
    "LLMContextLengthError",
    "LLMEmptyError",
    "LLMInterruptedError",
    "LLMMalformedError",
    "LLMMessage",
    "LLMMissingKeyError",
    "LLMNotFoundError",
    "LLMProvider",
    "LLMProviderError",
    "LLMRateLimitedError",
    "LLMRequest",
    "LLMResponse",
    "LLMServerError",
    "LLMTimeoutError",
    "LLMTransportError",
    "LLMUnavailableError",
    "LLMUnexpectedError",
    "LocalProvider",
    "OpenAICompatibleProvider",
    "PromptEnhancer",
    "PromptOperation",
    "PromptSafetyFilter",
    "ProviderSpec",
    "RewriteOptions",
    "RewriteResult",
    "RunDone",
    "SafetyDecision",
    "SafetyResult",
    "SettingsSpec",
    "Snapshot",
    "StreamEvent",
    "StreamingProvider",
    "TemplateSpec",
    "TextChunk",
    "Usage",
    "build_provider",
    "build_request",
    "build_rewrite",
    "close_client",
    "complete_chain",
    "first_blocked",
    "local_available",
    "parse_alternatives",
    "register_kind",
    "run_chain",
    "use_transport",
]
