"""The refusals of changes of prompts. The base classes are in `ledger.errors`."""

from promptops.ledger.errors import Refused, Stale
from promptops.prompts.models import Draft, Version


class StaleRelease(Stale):
    """Another version went live after the change was started."""

    def __init__(self, live: Version | None) -> None:
        self.live = live
        event = f"v{live.number} went live" if live else "The live version was removed"
        super().__init__(f"{event} in the meantime. Compare the two texts, then publish again. Your text is kept.")


class VariableInUse(Refused):
    """The variable cannot be removed while live texts use it. `users` are these versions."""

    def __init__(self, name: str, users: list[Version]) -> None:
        *most, last = [str(version) for version in users]
        users_words = f"{', '.join(most)} and {last} are live and use" if most else f"{last} is live and uses"
        super().__init__(f"{name} cannot be removed: {users_words} it. Publish a text without {{{{ {name} }}}} first.")


class ChecksFailed(Refused):
    """The text failed a check, so it cannot go live."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__(f"The text cannot go live. {' '.join(sentences)}")


class StaleDraft(Stale):
    """Another page of the same person saved the draft after this page had loaded it."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        super().__init__(
            "Your draft was changed in another window. Choose which text to keep. "
            "The other text moves to your discarded drafts."
        )
