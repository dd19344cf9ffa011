"""The features' parts of the live configuration, registered in the order in which releases keep them.

Here belongs how each part is read from the database; how it is changed belongs into `promptops.actions`.
"""

from promptops.prompts import live_part as prompts, live_variables as variables  # noqa: F401, I001 -- in this order
from promptops.live_parts import settings  # noqa: F401, I001 -- in this order
from promptops.safety import live_part as safety  # noqa: F401, I001 -- in this order
from promptops.providers import live_part as providers  # noqa: F401, I001 -- in this order
