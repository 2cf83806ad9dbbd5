"""The page at /graphiql: a console for documents of one's own, from files that come along, asking no other host."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from creditdesk.graphql.stored_documents import console_documents

PATH = "/graphiql"

_TYPES = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript", "LICENSES.txt": "text/plain"}
# Scripts and styles run only from here, and nothing is asked of anybody else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


def graphiql_routes() -> list[Route]:
    """Return the page, its files, the console's documents for its tabs, and an empty list of tokens."""
    folder = files("creditdesk.app").joinpath("graphiql_page")
    answers = {name: _file(folder.joinpath(name).read_bytes(), type_) for name, type_ in _TYPES.items()}
    return [
        Route(PATH, answers["page.html"]),
        *(Route(f"{PATH}/{name}", answer) for name, answer in answers.items()),
        Route(f"{PATH}/documents.json", _documents),
        Route(f"{PATH}/tokens.json", _tokens),
    ]


def _file(content: bytes, type_: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a file, unless the browser has it already."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = _HEADERS | {"content-type": f"{type_}; charset=utf-8", "etag": etag}

    async def answer(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return answer


async def _documents(_: Request) -> Response:
    return JSONResponse(console_documents(), headers=_HEADERS)


async def _tokens(_: Request) -> Response:
    """Say that there are none: only the demo hands tokens out, before a request gets here."""
    return JSONResponse({}, headers=_HEADERS)
