"""A person at a new installation: `python -m tests.services.visit LINK [ADDRESS]`.

They open the set-up link, at another address if one is given, make the first administrator, sign in again and read the
overview. An error ends the visit.
"""

import sys
from urllib.parse import urlsplit

import httpx

from tests.services.server import ACCOUNT, Browser


def visit(link: str, address: str = "") -> None:
    """Make the first administrator and sign in."""
    parts = urlsplit(link)
    browser = Browser(address or f"{parts.scheme}://{parts.netloc}")
    headers = {"Referer": browser.address}
    browser.client = httpx.Client(base_url=browser.address, verify=False, headers=headers, timeout=60)
    answer = browser.fill(parts.path, ACCOUNT)
    assert answer.headers.get("location") == "/", answer.text
    browser.client.cookies.clear()
    answer = browser.fill("/sign-in/", {"username": ACCOUNT["username"], "password": ACCOUNT["password"]})
    assert answer.headers.get("location") == "/", answer.text
    assert ACCOUNT["name"] in browser.get("/").text


if __name__ == "__main__":
    visit(*sys.argv[1:])
    print("signed in")
