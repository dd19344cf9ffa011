"""`PromptEnhancer`: the three operations over a chain of providers, for use without PromptOps' web application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from promptops.engine.chain import complete_chain
from promptops.engine.contracts import Contract, LinesContract
from promptops.engine.events import HedgePolicy
from promptops.engine.health import HealthRegistry
from promptops.engine.messages import Example, example_messages, user_message
from promptops.engine.operations import OperationSpec, operation_spec
from promptops.engine.types import LLMMessage, LLMProvider, LLMRequest, LLMResponse, PromptOperation

BUILT_IN_PROMPTS: Mapping[PromptOperation, str] = MappingProxyType(
    {operation: operation_spec(operation).default_text for operation in PromptOperation}
)
"""The default system prompts, by operation."""


def build_request(
    operation: str | OperationSpec,
    text: str,
    *,
    system_prompt: str,
    model: str,
    temperature: float | None,
    max_tokens: int | None,
    timeout_ms: int | None = None,
    count: int | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    contract: Contract | None = None,
    user_template: str = "",
    examples: Sequence[Example] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> LLMRequest:
    """Return the request that runs `operation` on `text`. A name is that of a built-in operation.

    The user message is exactly `text`, or `user_template` with the input and the `variables` filled in. `examples` come
    between the system message and the user message, as they are. For an operation that offers alternatives, the end of
    the system message asks for `count` of them. `parameters` are further fields of the request's body, such as `top_p`;
    `None` leaves one out. `reasoning_effort` is one of them, which each kind of provider sends under its own names.
    `contract` is the answer's contract; a contract of alternatives follows `count`.
    Raises `ValueError` if `text` or the user message is blank, or the operation is unknown.
    """
    spec = operation if isinstance(operation, OperationSpec) else operation_spec(operation)
    if not text.strip():
        raise ValueError(f"The input of {spec.name} is empty")
    if spec.offers_alternatives and count is not None:
        wanted = max(1, count)
        system_prompt += f"\n\nWrite exactly {wanted} alternative{'s' if wanted > 1 else ''}, one a line."
    user = user_message(spec, text, template=user_template, variables=variables, count=count)
    messages = [LLMMessage("system", system_prompt), *example_messages(examples), LLMMessage("user", user)]
    if count is not None and isinstance(contract, LinesContract):
        contract = contract.of(max(1, count))
    further = {name: value for name, value in parameters.items() if value is not None}
    return LLMRequest(
        messages,
        model,
        max_tokens=max_tokens,
        temperature=temperature,
        timeout_ms=timeout_ms,
        reasoning_effort=further.pop("reasoning_effort", None),
        parameters=further,
        # A JSON answer is handed on as it came: reading and checking it belong to the answer's contract.
        answer=None if spec.answer == "json" else spec.answer,
        contract=contract,
    )


class ObjectHealth(HealthRegistry):
    """A registry that keys providers by object, so that two providers with the same name share nothing.

    It keeps a reference to each provider, because Python may reuse the identity of a deleted object.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[int, tuple[str, LLMProvider]] = {}

    def key(self, provider: LLMProvider) -> str:
        """Return the key of the health of `provider`: its name with a number."""
        with self._lock:
            number = len(self._keys) + 1
            key, _ = self._keys.setdefault(id(provider), (f"{provider.name} #{number}", provider))
        return key


class PromptEnhancer:
    """Enhances, continues and rewrites prompts with a chain of providers.

    `model` is the model of providers without their own. `timeout_ms` is the deadline of a whole run. The files
    `enhance.txt`, `auto_extend.txt` and `rewrite.txt` in `system_prompt_dir` replace the built-in system prompts; for a
    missing or blank file the built-in text is used. Raises `ValueError` without providers.

    Answers are read and handed over whole. `content` is the prompt, or for a rewrite the alternatives; `raw` is the
    text as the model wrote it.

    You can set two attributes afterwards. `health` skips providers that are failing. By default it is a registry of
    this enhancer that keys providers by object; set a `HealthRegistry` to share it, by name, between the enhancers of a
    process. `hedges` gives operations a hedge.
    """

    def __init__(
        self,
        *,
        providers: Sequence[LLMProvider],
        model: str,
        timeout_ms: int = 20_000,
        temperature: float = 0.7,
        max_tokens: int = 256,
        system_prompt_dir: str | Path | None = None,
    ) -> None:
        self._providers = list(providers)
        if not self._providers:
            raise ValueError("PromptEnhancer needs at least one provider")
        self.model = model
        self.timeout_ms = timeout_ms
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.health: HealthRegistry | None = ObjectHealth()
        self.hedges: Mapping[PromptOperation, HedgePolicy] = {}
        self._system_prompt_dir = Path(system_prompt_dir) if system_prompt_dir is not None else None
        self._system_prompts: Mapping[PromptOperation, str] = {}
        self.reload_system_prompts()

    @property
    def providers(self) -> list[LLMProvider]:
        """Return the providers in order, as a new list."""
        return list(self._providers)

    def register_provider(self, provider: LLMProvider, *, priority: int = -1) -> None:
        """Add a provider at position `priority`, 0 being the first choice, or at the end if `priority` is negative."""
        # A new list, so that runs in progress keep the chain that they started with.
        chain = self.providers
        chain.insert(len(chain) if priority < 0 else priority, provider)
        self._providers = chain

    def reload_system_prompts(self) -> None:
        """Read the system prompts again. Calls in progress keep the texts that they started with."""
        self._system_prompts = {operation: self._read_system_prompt(operation) for operation in PromptOperation}

    async def enhance(self, prompt: str) -> LLMResponse:
        """Return a richer version of `prompt`. Raises `LLMProviderError`, and `ValueError` if `prompt` is blank."""
        return await self._run(PromptOperation.ENHANCE, prompt)

    async def auto_extend(self, prior_prompts: Sequence[str]) -> LLMResponse:
        """Return the prompt that continues `prior_prompts`, oldest first. Raises like `enhance`."""
        return await self._run(PromptOperation.AUTO_EXTEND, "\n".join(prior_prompts))

    async def rewrite(
        self, seed_prompt: str, *, count: int | None = None, temperature: float | None = None
    ) -> LLMResponse:
        """Return alternatives to `seed_prompt`, one a line: `count` of them if given. Raises like `enhance`."""
        return await self._run(PromptOperation.REWRITE, seed_prompt, count=count, temperature=temperature)

    async def _run(
        self, operation: PromptOperation, text: str, *, count: int | None = None, temperature: float | None = None
    ) -> LLMResponse:
        request = build_request(
            operation,
            text,
            system_prompt=self._system_prompts[operation],
            model=self.model,
            temperature=self.temperature if temperature is None else temperature,
            max_tokens=self.max_tokens,
            timeout_ms=self.timeout_ms,
            count=count,
        )
        return await complete_chain(
            request,
            self._providers,
            timeout_ms=self.timeout_ms,
            health=self.health,
            hedge=self.hedges.get(operation),
        )

    def _read_system_prompt(self, operation: PromptOperation) -> str:
        text = ""
        if self._system_prompt_dir is not None:
            path = self._system_prompt_dir / f"{operation.value}.txt"
            text = path.read_text(encoding="utf-8-sig").strip() if path.is_file() else ""
        return text or BUILT_IN_PROMPTS[operation]
