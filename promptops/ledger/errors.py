"""Why an action was refused; every message says what to do, and nothing was changed.

Refused (ValueError)
|-- Stale               someone else changed it first
`-- LastAdministrator
Features add their own (`prompts.errors`).
"""


class Refused(ValueError):
    """The action cannot be done as asked; the message is a sentence for the person who asked."""


class Stale(Refused):
    """What the person saw is no longer what is there."""


class LastAdministrator(Refused):
    """There must always be one active administrator."""

    def __init__(self) -> None:
        super().__init__("This is the last administrator. Make somebody else an administrator first.")
