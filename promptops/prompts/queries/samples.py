"""Inputs to try a text on: those that people pinned, and those that come with PromptOps."""

from dataclasses import dataclass

from promptops.engine.operations import operation_spec
from promptops.prompts.models import Sample


@dataclass(frozen=True)
class Samples:
    """The inputs of an operation: `pinned` rows, and the `shipped` texts that are not pinned."""

    pinned: list[Sample]
    shipped: list[str]

    @property
    def smoke(self) -> list[str]:
        """What a smoke run takes: the pinned inputs, or the shipped ones while nothing is pinned."""
        return [sample.text for sample in self.pinned] or self.shipped

    @property
    def first(self) -> str:
        """What "Try it" starts with."""
        return self.smoke[0]


def of(operation: str) -> Samples:
    """The inputs of the operation, pinned ones in the order of pinning."""
    pinned = list(Sample.objects.filter(operation=operation))
    texts = {sample.text for sample in pinned}
    return Samples(pinned, [text for text in operation_spec(operation).samples if text not in texts])
