"""Why a change of prompts was refused; see `ledger.errors`."""

from promptops.ledger.errors import Refused, Stale
from promptops.prompts.models import Draft, Version


class StaleRelease(Stale):
    """Another version went live after the one that the change started from."""

    def __init__(self, live: Version | None) -> None:
        self.live = live
        now = f"v{live.number} is live now" if live else "nothing is live now"
        super().__init__(f"Someone was faster: {now}. Compare the two texts, then publish again; yours is kept.")


class VariableInUse(Refused):
    """A variable cannot go while live texts use it; `users` are these versions."""

    def __init__(self, name: str, users: list[Version]) -> None:
        *most, last = [str(version) for version in users]
        who = f"{', '.join(most)} and {last} are live and use" if most else f"{last} is live and uses"
        super().__init__(f"{name} cannot be removed: {who} it. Publish a text without {{{{ {name} }}}} there first.")


class ChecksFailed(Refused):
    """The text does not pass the checks before going live."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__(f"The text cannot go live. {' '.join(sentences)}")


class StaleDraft(Stale):
    """Another page of the same person saved the draft after the one that the text comes from was filled."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        super().__init__("Your draft was changed in another window. Choose which text to keep; the other is set aside.")
