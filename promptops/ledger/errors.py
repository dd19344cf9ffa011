"""Refusals: an action raises one when it cannot be done. Nothing was changed, and the message says what to do next.

Refused (ValueError)
|-- Stale               somebody else changed it first
|-- Frozen              somebody froze releases
`-- LastAdministrator
Features add their own, such as `prompts.errors`.
"""


class Refused(ValueError):
    """The action cannot be done. The message is a sentence for the person who asked for it."""


class Stale(Refused):
    """The object has changed since the person loaded it."""


class Frozen(Refused):
    """Nothing is released now. The message says who froze releases, until when, and what is still possible."""


class LastAdministrator(Refused):
    """The action would leave no active administrator."""

    def __init__(self) -> None:
        super().__init__("This is the last administrator. Make someone else an administrator first.")
