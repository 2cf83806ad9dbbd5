"""Groups that did not fit into a token: asked for at a directory of this machine, or the caller is refused."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from creditdesk.app.issuer_settings import read_issuers
from creditdesk.auth.authenticate import reader_of, www_authenticate
from creditdesk.auth.claims import MOST_ENTRIES
from creditdesk.auth.errors import GroupsOverage, IssuerUnavailable
from creditdesk.auth.group_lookups import MOST_AT_ONCE, are_groups_elsewhere
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.roles import Role
from creditdesk.auth.tokens import TokenVerifier, VerifiedToken
from support.processes import served
from support.vendors import Web

TENANT = "6a1b8f0e-2f4d-4c7e-9d53-0b6f2a9e7c11"
OID = "11f8a3f2-7a86-4f4f-8d0e-98e5b3f4c0aa"
ADMINS, WEB = "3f6f1e2a-8b0c-4d9e-a7c3-5b4a3c2d1e02", "0f0b6c4e-5a1d-4f8b-9a51-2d9d8a5c1b01"
CREDENTIALS = {"client_id": "directory-reader", "client_secret": "secret-of-the-directory-reader"}


@dataclass
class Directory:
    """What Microsoft's token endpoint and Graph do, as far as they are asked."""

    groups: dict[str, list[str]] = field(default_factory=dict)
    answer: Response | None = None
    tokens: int = 0
    at_once: int = 0
    most_at_once: int = 0
    asked: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/v1.0/users/{subject}/getMemberObjects", self._member_objects, methods=["POST"]),
            ]
        )

    async def _token(self, request: Request) -> Response:
        form = {name: value for name, [value] in parse_qs((await request.body()).decode()).items()}
        if form != {"grant_type": "client_credentials", "scope": "directory/.default", **CREDENTIALS}:
            return JSONResponse({"error": "invalid_client"}, 401)
        self.tokens += 1
        return JSONResponse({"access_token": f"token-{self.tokens}", "token_type": "Bearer", "expires_in": 3600})

    async def _member_objects(self, request: Request) -> Response:
        subject = request.path_params["subject"]
        self.asked.append(subject)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if self.answer is not None:
            return self.answer
        if request.headers["authorization"] != f"Bearer token-{self.tokens}":
            return JSONResponse({"error": {"code": "InvalidAuthenticationToken"}}, 401)
        if await request.json() != {"securityEnabledOnly": False} or subject not in self.groups:
            return JSONResponse({"error": {"code": "Request_ResourceNotFound"}}, 404)
        return JSONResponse({"@odata.context": "#Collection(Edm.String)", "value": self.groups[subject]})


@dataclass
class Place:
    directory: Directory
    web: Web
    issuer: Issuer
    http: httpx.AsyncClient
    runner: asyncio.Runner
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.verifier = TokenVerifier([self.issuer], self.http, self.web.clock)

    def token(self, **changes: object) -> str:
        now = int(self.web.clock())
        claims: dict[str, Any] = {
            "iss": self.issuer.url, "aud": "urn:a", "sub": "pairwise", "oid": OID, "tid": TENANT, "azp": "console",
            "scp": "access_as_user", "iat": now, "exp": now + 300, "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": "https://evil.example/users/x/getMemberObjects"}},
        }  # fmt: skip
        return self.web[self.issuer.url].sign(claims | changes)

    def verify(self, token: str) -> VerifiedToken:
        return self.runner.run(self.verifier.verify(token))


class Routed(httpx.AsyncBaseTransport):
    """Leads to the issuer's keys on the web, and to everything on this machine over real sockets."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._sockets = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        way = self._sockets if request.url.host == "127.0.0.1" else self._web
        return await way.handle_async_request(request)

    async def aclose(self) -> None:
        await self._sockets.aclose()


@pytest.fixture
def place() -> Iterator[Place]:
    directory = Directory(groups={OID: [ADMINS, WEB, "another"]})
    with served(lambda _: directory.app()) as url, asyncio.Runner() as runner:
        lookup = {
            **CREDENTIALS,
            "endpoint": f"{url}/v1.0/users/{{subject}}/getMemberObjects",
            "token_endpoint": f"{url}/token",
            "scope": "directory/.default",
        }
        entry = {
            "preset": "entra",
            "options": {"tenant": TENANT},
            "audience": "urn:a",
            "workspace": "acme",
            "role_map": {ADMINS: "ADMIN"},
            "group_map": {WEB: "web"},
            "groups_overage": lookup,
        }
        [issuer] = read_issuers(json.dumps({"entra": entry}))
        web = Web(issuer.url)
        http = httpx.AsyncClient(transport=Routed(web))
        try:
            yield Place(directory, web, issuer, http, runner)
        finally:
            runner.run(http.aclose())


def test_groups_that_did_not_fit_are_asked_for_and_count_like_any(place: Place) -> None:
    token = place.verify(place.token())
    claims = reader_of(place.issuer).read(token.claims)
    assert (claims.roles, claims.group_slugs) == (frozenset({Role.ADMIN}), frozenset({"web"}))
    assert place.directory.asked == [OID]


def test_the_address_that_a_token_names_is_never_asked(place: Place) -> None:
    sources = {"src1": {"endpoint": "https://evil.example/", "access_token": "x"}}
    place.verify(place.token(_claim_sources=sources))
    assert place.directory.asked == [OID]
    assert place.web.asked == {place.issuer.url: 1}


def test_a_token_is_asked_for_once_and_our_own_is_kept(place: Place) -> None:
    token = place.token()
    assert place.verify(token) is place.verify(token)
    place.verify(place.token(uti="another"))
    assert (place.directory.asked, place.directory.tokens) == ([OID, OID], 1)
    place.web.clock.advance(3541)
    place.verify(place.token())
    assert place.directory.tokens == 2


def test_of_many_requests_of_a_person_one_asks(place: Place) -> None:
    async def many() -> None:
        await asyncio.gather(*(place.verifier.verify(place.token(uti=str(number))) for number in range(20)))

    place.runner.run(many())
    assert place.directory.asked == [OID]


def test_of_many_people_only_some_are_asked_for_at_a_time(place: Place) -> None:
    people = [f"person-{number}" for number in range(3 * MOST_AT_ONCE)]
    place.directory.groups |= {person: [WEB] for person in people}

    async def many() -> None:
        await asyncio.gather(*(place.verifier.verify(place.token(oid=person)) for person in people))

    place.runner.run(many())
    assert sorted(place.directory.asked) == sorted(people)
    assert 1 < place.directory.most_at_once <= MOST_AT_ONCE
    assert place.directory.tokens == 1


def test_a_subject_cannot_lead_the_question_elsewhere(place: Place) -> None:
    with pytest.raises(GroupsOverage):
        place.verify(place.token(oid="../../token?x="))
    assert place.directory.asked == []
    with pytest.raises(GroupsOverage):
        place.verify(place.token(oid=["x"]))


def test_without_a_lookup_the_caller_is_refused_and_told_why(place: Place) -> None:
    verifier = TokenVerifier([replace(place.issuer, group_lookup=None)], place.http, place.web.clock)
    for changes in ({}, {"_claim_names": None, "hasgroups": True}, {"_claim_names": None, "groups:src1": "https://x"}):
        with pytest.raises(GroupsOverage) as caught:
            place.runner.run(verifier.verify(place.token(**changes)))
        assert caught.value.code.name == "GROUPS_OVERAGE"
        assert caught.value.message == (
            "The caller is in more groups than a token holds. The administrator of the sign-in can help."
        )
        assert "invalid_token" in www_authenticate(caught.value)
    assert place.directory.asked == []


def test_a_person_whom_the_directory_does_not_know_is_refused_and_harms_nobody_else(place: Place) -> None:
    with pytest.raises(GroupsOverage):
        place.verify(place.token(oid="somebody-else"))
    place.verify(place.token())


def test_nobody_loses_a_group_beyond_the_number_that_is_read(place: Place) -> None:
    place.directory.groups[OID] = [ADMINS] * MOST_ENTRIES
    place.verify(place.token())
    place.directory.groups[OID].append(WEB)
    with pytest.raises(GroupsOverage):
        place.verify(place.token(uti="another"))


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"error": {}}, 503),
        JSONResponse({"error": {}}, 401),
        JSONResponse({"value": [ADMINS], "@odata.nextLink": "https://evil.example"}),
        JSONResponse({"value": {"0": ADMINS}}),
        JSONResponse([ADMINS]),
        Response(b"\xff"),
        Response(b'{"value": ["' + b"x" * (1 << 20) + b'"]}'),
        Response(status_code=302, headers={"location": "https://evil.example"}),
    ],
    ids=lambda answer: f"{answer.status_code} {bytes(answer.body[:20])!r}",
)
def test_a_directory_that_does_not_answer_fully_makes_nobody_poorer(place: Place, answer: Response) -> None:
    place.directory.answer = answer
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            place.verify(place.token())
    assert len(place.directory.asked) == 1  # and is then left alone
    place.directory.answer = None
    place.web.clock.advance(10)
    place.verify(place.token())


def test_refused_credentials_are_an_outage_and_not_the_caller_s_fault(place: Place) -> None:
    assert place.issuer.group_lookup
    wrong = replace(place.issuer, group_lookup=replace(place.issuer.group_lookup, client_secret="another"))
    verifier = TokenVerifier([wrong], place.http, place.web.clock)
    with pytest.raises(IssuerUnavailable):
        place.runner.run(verifier.verify(place.token()))
    assert place.directory.asked == []


@pytest.mark.parametrize(
    "claims",
    [
        {"_claim_names": {"groups": "src1"}},
        {"_claim_names": {"roles": "src1"}},
        {"hasgroups": True},
        {"hasgroups": "true"},
        {"groups:src1": "https://graph.example"},
    ],
)
def test_a_token_says_in_several_ways_that_groups_did_not_fit(claims: dict[str, Any]) -> None:
    assert are_groups_elsewhere(claims)


@pytest.mark.parametrize(
    "claims",
    [{"groups": ["a"]}, {"_claim_names": {"address": "src1"}}, {"_claim_names": ["groups"]}, {"hasgroups": False}, {}],
)
def test_a_token_whose_groups_fit_says_nothing_of_the_kind(claims: dict[str, Any]) -> None:
    assert not are_groups_elsewhere(claims)
