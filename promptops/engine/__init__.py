"""The engine: prompt operations over a chain of language models. Needs no Django."""

from promptops.engine.auth import AuthHeader
from promptops.engine.chain import complete_chain, run_chain
from promptops.engine.drills import FAULTS, Fault, faulty
from promptops.engine.enhancer import BUILT_IN_PROMPTS, PromptEnhancer, build_request
from promptops.engine.errors import (
    LLMAuthError,
    LLMBadRequestError,
    LLMBusyError,
    LLMContextLengthError,
    LLMEmptyError,
    LLMInterruptedError,
    LLMMalformedError,
    LLMMissingKeyError,
    LLMNotFoundError,
    LLMProviderError,
    LLMQuotaError,
    LLMRateLimitedError,
    LLMRefusedError,
    LLMServerError,
    LLMTimeoutError,
    LLMTransportError,
    LLMTruncatedError,
    LLMUnavailableError,
    LLMUnexpectedError,
)
from promptops.engine.events import AttemptFailed, AttemptStarted, ChainEvent, Delivery, HedgePolicy, RunDone
from promptops.engine.health import HealthRegistry, HealthView
from promptops.engine.http import close_client, use_transport
from promptops.engine.policies import POLICIES, Policy
from promptops.engine.providers import KINDS, KindSpec, build_provider, register_kind
from promptops.engine.providers.adaptations import ADAPTATIONS
from promptops.engine.providers.addresses import base_address
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
    Prices,
    PromptOperation,
    ProviderOptions,
    ReasoningEffort,
    StreamEvent,
    StreamingProvider,
    TextChunk,
    Thinking,
    Usage,
)

__all__ = [
    "ADAPTATIONS",
    "BUILT_IN_PROMPTS",
    "FAULTS",
    "KINDS",
    "POLICIES",
    "Attempt",
    "AttemptFailed",
    "AttemptStarted",
    "AuthHeader",
    "CerebrasProvider",
    "ChainEvent",
    "Delivery",
    "Fault",
    "GroqProvider",
    "HealthRegistry",
    "HealthView",
    "HedgePolicy",
    "KindSpec",
    "LLMAuthError",
    "LLMBadRequestError",
    "LLMBusyError",
    "LLMContextLengthError",
    "LLMEmptyError",
    "LLMInterruptedError",
    "LLMMalformedError",
    "LLMMessage",
    "LLMMissingKeyError",
    "LLMNotFoundError",
    "LLMProvider",
    "LLMProviderError",
    "LLMQuotaError",
    "LLMRateLimitedError",
    "LLMRefusedError",
    "LLMRequest",
    "LLMResponse",
    "LLMServerError",
    "LLMTimeoutError",
    "LLMTransportError",
    "LLMTruncatedError",
    "LLMUnavailableError",
    "LLMUnexpectedError",
    "LocalProvider",
    "OpenAICompatibleProvider",
    "Policy",
    "Prices",
    "PromptEnhancer",
    "PromptOperation",
    "PromptSafetyFilter",
    "ProviderOptions",
    "ProviderSpec",
    "ReasoningEffort",
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
    "Thinking",
    "Usage",
    "base_address",
    "build_provider",
    "build_request",
    "build_rewrite",
    "close_client",
    "complete_chain",
    "faulty",
    "first_blocked",
    "local_available",
    "parse_alternatives",
    "register_kind",
    "run_chain",
    "use_transport",
]
