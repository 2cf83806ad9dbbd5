"""The demo's login: a page to pick a person from, with no password."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from starlette.responses import HTMLResponse

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>creditdesk demo: sign in</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 32rem; margin: 3rem auto; padding: 0 1rem }}
a {{ display: block; padding: .6rem 1rem; margin: .4rem 0; border: 1px solid #bbb; border-radius: .4rem }}
a {{ color: inherit }}
small {{ display: block; opacity: .7 }}
</style>
<h1>Who are you?</h1>
<p>Persons of the demo. <b>{client}</b> will act for the one you pick.</p>
{persons}
</html>
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """A person on the page, and where picking them leads."""

    name: str
    email: str
    address: str


def login_page(client: str, choices: Iterable[Choice]) -> HTMLResponse:
    """Return the page; every value is escaped."""
    persons = "\n".join(
        f'<a href="{escape(choice.address)}">{escape(choice.name)}<small>{escape(choice.email)}</small></a>'
        for choice in choices
    )
    return HTMLResponse(_PAGE.format(client=escape(client), persons=persons), headers=HEADERS)
