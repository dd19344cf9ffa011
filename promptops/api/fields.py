"""Types of fields and parameters that several routes share."""

from typing import Annotated, Any

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict


def storable(text: str) -> str:
    """Return the text, or raise ValueError for characters that no database stores."""
    if "\x00" in text:
        raise ValueError("A text contains the character NUL. Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("A text contains half of a surrogate pair, which is no valid Unicode. Remove it.") from None
    return text


Text = Annotated[str, AfterValidator(storable)]
"""A text that every database can store."""

TemplateName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60, description="A template's name")]


class Body(BaseModel):
    """The body of a request. Unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def example(body: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a `Body` with an example, which the API page and its curl and Python show."""
    return ConfigDict(json_schema_extra={"examples": [body]})
