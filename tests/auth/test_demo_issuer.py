import warnings
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.deprecate import AuthlibDeprecationWarning

from creditdesk.app.demo.grants import CODE_SECONDS
from creditdesk.app.demo.issuer import DemoClient
from creditdesk.auth.claims import DEFAULT_ROLE_MAP, ClaimMapping, ClaimReader
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.roles import Role
from support.issuers import CALLBACK, SERVICE_SECRET, URL, Site, run
from support.oauth import ASK, VERIFIER, post, refused

with warnings.catch_warnings():
    # Authlib 1.9 asks for httpx2, which does not exist in our lock file.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations.httpx_client import AsyncOAuth2Client


@pytest.fixture
def site() -> Site:
    return Site()


def authorize(site: Site, **changes: str | None) -> httpx.Response:
    asked = {name: value for name, value in (ASK | changes).items() if value is not None}
    return run(site.http.get(f"{URL}/authorize", params=asked))


def answered(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 303
    return {name: value for name, [value] in parse_qs(urlsplit(response.headers["location"]).query).items()}


def redeem(site: Site, given: str, **changes: str | None) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "console",
        "code": given,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    return post(site, {**form, **changes})


def refresh(site: Site, token: str, **changes: str | None) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "console", "refresh_token": token}
    return post(site, {**form, **changes})


def signed_in(site: Site) -> dict[str, str]:
    tokens: dict[str, str] = redeem(site, answered(authorize(site, login_hint="ana"))["code"]).json()
    return tokens


def test_the_whole_sign_in_with_authlib(site: Site) -> None:
    async def flow() -> None:
        async with AsyncOAuth2Client(
            "console",
            scope="openid offline_access",
            redirect_uri=CALLBACK,
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
            transport=site.network,
        ) as client:
            discovery = (await site.http.get(f"{URL}/.well-known/openid-configuration")).json()
            address, state = client.create_authorization_url(
                discovery["authorization_endpoint"], code_verifier=VERIFIER, nonce="n-1", login_hint="ana"
            )
            back = await site.http.get(address)
            tokens = await client.fetch_token(
                discovery["token_endpoint"],
                authorization_response=back.headers["location"],
                state=state,
                code_verifier=VERIFIER,
            )
            token = await site.verifier.verify(tokens["access_token"])
            claims = ClaimReader(ClaimMapping(), DEFAULT_ROLE_MAP).read(token.claims)
            assert (claims.subject, claims.workspace_slug, claims.roles) == ("ana", "acme", frozenset({Role.ADMIN}))
            with pytest.raises(Unauthenticated):
                await site.verifier.verify(tokens["id_token"])
            renewed = await client.refresh_token(discovery["token_endpoint"])
            assert renewed["refresh_token"] != tokens["refresh_token"]
            await site.verifier.verify(renewed["access_token"])

    run(flow())


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_service_signs_in_with_authlib(site: Site, method: str) -> None:
    async def flow() -> None:
        async with AsyncOAuth2Client(
            "gateway", SERVICE_SECRET, token_endpoint_auth_method=method, scope="usage:write", transport=site.network
        ) as client:
            tokens = await client.fetch_token(f"{URL}/token", grant_type="client_credentials")
            token = await site.verifier.verify(tokens["access_token"])
            claims = ClaimReader(ClaimMapping(), {}).read(token.claims)
            assert (claims.subject, claims.roles, claims.scopes) == (
                "gateway",
                frozenset({Role.SERVICE}),
                frozenset({"usage:write"}),
            )
            assert "refresh_token" not in tokens

    run(flow())


def test_the_answer_echoes_the_state_and_names_the_issuer(site: Site) -> None:
    answer = answered(authorize(site, login_hint="ana"))
    assert (answer["state"], answer["iss"]) == ("s&t=<a>", URL)
    assert "state" not in answered(authorize(site, login_hint="ana", state=None))


def test_a_redirect_address_keeps_its_own_query(site: Site) -> None:
    address = "http://127.0.0.1:5173/deep?tab=1"
    response = authorize(site, login_hint="ana", redirect_uri=address)
    assert response.headers["location"].startswith(f"{address}&code=")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": "gateway"},
        {"redirect_uri": None},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": f"{CALLBACK}/"},
        {"redirect_uri": f"{CALLBACK}?a=1"},
        {"redirect_uri": CALLBACK.upper()},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_the_clients(site: Site, changes: dict[str, str | None]) -> None:
    response = authorize(site, login_hint="ana", **changes)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("text/plain")
    assert "location" not in response.headers


def test_a_repeated_parameter_is_refused(site: Site) -> None:
    response = run(site.http.get(f"{URL}/authorize", params=[*ASK.items(), ("redirect_uri", "https://evil.example/")]))
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"scope": "openid usage:write"}, "invalid_scope"),
        ({"login_hint": None, "prompt": "none"}, "login_required"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_to_the_client(
    site: Site, changes: dict[str, str | None], error: str
) -> None:
    answer = answered(authorize(site, **({"login_hint": "ana"} | changes)))
    assert (answer["error"], answer["state"], answer["iss"]) == (error, ASK["state"], URL)
    assert "code" not in answer


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name == "href" and value]


def test_without_a_known_hint_there_is_a_page_to_pick_a_person_from(site: Site) -> None:
    for hint in (None, "stranger"):
        page = authorize(site, login_hint=hint)
        links = Links(page.text)
        assert page.status_code == 200
        assert len(links.found) == 2
        assert all(link.startswith(f"{URL}/authorize?") for link in links.found)
        picked = answered(run(site.http.get(links.found[1])))
        token = run(site.verifier.verify(redeem(site, picked["code"]).json()["access_token"]))
        assert (token.claims["sub"], picked["state"]) == ("mo", ASK["state"])


def test_the_page_escapes_what_it_shows_and_runs_nothing(site: Site) -> None:
    page = authorize(site, state='"><script>alert(1)</script>', nonce="<img src=x>")
    assert "Ana &lt;Admin&gt;" in page.text
    assert Links(page.text).tags <= {"html", "meta", "title", "style", "h1", "p", "b", "a", "small"}
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_code_works_once_and_its_second_use_ends_the_refresh_tokens(site: Site) -> None:
    code = answered(authorize(site, login_hint="ana"))["code"]
    token = redeem(site, code).json()["refresh_token"]
    refused(redeem(site, code), "invalid_grant")
    refused(refresh(site, token), "invalid_grant")


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "another"},
        {"code": None},
        {"redirect_uri": "http://127.0.0.1:5173/deep?tab=1"},
        {"redirect_uri": None},
        {"code_verifier": VERIFIER + "x"},
        {"code_verifier": None},
        {"client_id": "second"},
    ],
)
def test_a_code_is_bound_to_its_request(site: Site, changes: dict[str, str | None]) -> None:
    site.issuer._clients["second"] = DemoClient("second", redirect_uris=(CALLBACK,))  # noqa: SLF001 - a second public client
    refused(redeem(site, answered(authorize(site, login_hint="ana"))["code"], **changes), "invalid_grant")


def test_a_wrong_guess_uses_the_code_up(site: Site) -> None:
    code = answered(authorize(site, login_hint="ana"))["code"]
    refused(redeem(site, code, code_verifier="wrong"), "invalid_grant")
    refused(redeem(site, code), "invalid_grant")


def test_a_code_expires(site: Site) -> None:
    code = answered(authorize(site, login_hint="ana"))["code"]
    site.clock.advance(CODE_SECONDS)
    refused(redeem(site, code), "invalid_grant")


def test_a_refresh_token_rotates_and_its_reuse_ends_the_family(site: Site) -> None:
    first = signed_in(site)["refresh_token"]
    second = refresh(site, first).json()["refresh_token"]
    third = refresh(site, second).json()["refresh_token"]
    assert len({first, second, third}) == 3
    refused(refresh(site, first), "invalid_grant")
    refused(refresh(site, third), "invalid_grant")


def test_a_refresh_narrows_the_scope_but_never_widens_it(site: Site) -> None:
    token = signed_in(site)["refresh_token"]
    narrowed = refresh(site, token, scope="openid").json()
    assert narrowed["scope"] == "openid"
    refused(refresh(site, narrowed["refresh_token"], scope="openid usage:write"), "invalid_scope")


def test_a_refresh_token_is_bound_to_its_client(site: Site) -> None:
    site.issuer._clients["second"] = DemoClient("second")  # noqa: SLF001 - a second public client
    token = signed_in(site)["refresh_token"]
    refused(refresh(site, token, client_id="second"), "invalid_grant")
    assert refresh(site, token).status_code == 200


def test_no_refresh_token_without_offline_access(site: Site) -> None:
    code = answered(authorize(site, login_hint="ana", scope="openid"))["code"]
    assert "refresh_token" not in redeem(site, code).json()
