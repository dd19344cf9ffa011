"""Reading lists of the history pages."""

import re


def listed(response) -> list[int]:
    """Return the numbers of the rows of the page, in order."""
    return [int(seq) for seq in re.findall(r'class="link-plain" href="/audit/(\d+)/"', response.content.decode())]


def text_of(response) -> str:
    """Return the text of the page with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))
