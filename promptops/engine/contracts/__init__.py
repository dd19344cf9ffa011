"""The contract of an answer: what it must be, reading it, and what is wrong with an answer that breaks it.

No provider, network or Django belongs here. The chain decides what follows a breach.
"""

from promptops.engine.contracts.figures import ContractOutcome, contract_outcome
from promptops.engine.contracts.kinds import CONTRACTS, Contract, JsonContract, LinesContract, TextContract
from promptops.engine.contracts.system_texts import contradictions

__all__ = [
    "CONTRACTS",
    "Contract",
    "ContractOutcome",
    "JsonContract",
    "LinesContract",
    "TextContract",
    "contract_outcome",
    "contradictions",
]
