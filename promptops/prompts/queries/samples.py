"""Reads of sample inputs: pinned ones, and those that come with PromptOps."""

from dataclasses import dataclass

from promptops.prompts.models import Sample
from promptops.prompts.queries import operations


@dataclass(frozen=True)
class Samples:
    """The sample inputs of an operation: `pinned` rows, and `shipped` inputs that are not pinned."""

    pinned: list[Sample]
    shipped: list[str]

    @property
    def smoke(self) -> list[str]:
        """Return the inputs of a smoke run: the pinned ones, or the shipped ones while nothing is pinned."""
        return [sample.text for sample in self.pinned] or self.shipped

    @property
    def first(self) -> str:
        """Return the input with which "Try it" starts; "" if the operation has no sample yet."""
        return next(iter(self.smoke), "")


def of(operation: str) -> Samples:
    """Return the sample inputs of the operation, pinned ones in the order of pinning."""
    pinned = list(Sample.objects.filter(operation=operation))
    texts = {sample.text for sample in pinned}
    return Samples(pinned, [text for text in operations.of(operation).samples if text not in texts])
