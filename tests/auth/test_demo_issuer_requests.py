import base64
import stat
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditdesk.app.demo.issuer import DemoClient, DemoIssuer, DemoPerson
from creditdesk.app.demo.signing_keys import FILE_NAME, SigningKeys
from support.issuers import ANA, AUDIENCE, SERVICE_SECRET, URL, Site, run
from support.oauth import ASK, SERVICE, post, refused


@pytest.fixture
def site() -> Site:
    return Site()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode("latin-1")).decode()


@pytest.mark.parametrize(
    ("form", "header", "error", "status"),
    [
        ({"client_secret": "wrong"}, None, "invalid_client", 401),
        ({"client_secret": None}, None, "invalid_client", 401),
        ({"client_secret": "é"}, None, "invalid_client", 401),
        ({"client_id": "unknown"}, None, "invalid_client", 401),
        ({"client_id": None}, None, "invalid_client", 401),
        ({"client_id": "console"}, None, "invalid_client", 401),
        ({"client_id": "console", "client_secret": None}, None, "unauthorized_client", 400),
        ({"grant_type": None}, None, "unsupported_grant_type", 400),
        ({"grant_type": "password"}, None, "unsupported_grant_type", 400),
        ({"grant_type": "authorization_code"}, None, "unauthorized_client", 400),
        ({"scope": "usage:read members:write"}, None, "invalid_scope", 400),
        ({}, basic(f"gateway:{SERVICE_SECRET}"), "invalid_request", 400),
        ({"client_secret": None, "client_id": "console"}, basic(f"gateway:{SERVICE_SECRET}"), "invalid_request", 400),
        ({"client_secret": None}, basic("gateway:wrong"), "invalid_client", 401),
        ({"client_secret": None}, basic("gateway"), "invalid_client", 401),
        ({"client_secret": None}, basic("gateway:\xff"), "invalid_client", 401),
        ({"client_secret": None}, basic("gateway:%ff"), "invalid_client", 401),
        ({"client_secret": None}, "Basic ***", "invalid_client", 401),
        ({"client_secret": None}, "Basic", "invalid_client", 401),
        ({"client_secret": None}, "Bearer abc", "invalid_client", 401),
    ],
)
def test_a_bad_token_request_gets_an_oauth_error(
    site: Site, form: dict[str, str | None], header: str | None, error: str, status: int
) -> None:
    response = post(site, {**SERVICE, **form}, **({"authorization": header} if header else {}))
    refused(response, error, status)
    assert ("www-authenticate" in response.headers) is (status == 401)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/x-www-form-urlencoded", 401),
        (b"{}", "application/json", 400),
        (b"grant_type=client_credentials", "", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"client_id=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=1&a=2", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % number for number in range(51)), "application/x-www-form-urlencoded", 400),
        (b"a" * (64 * 1024 + 1), "application/x-www-form-urlencoded", 413),
    ],
)
def test_a_malformed_body_gets_an_oauth_error(site: Site, body: bytes, content_type: str, status: int) -> None:
    response = run(site.http.post(f"{URL}/token", content=body, headers={"content-type": content_type}))
    assert (response.status_code, set(response.json())) == (status, {"error", "error_description"})


SHARED = Site()


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*SERVICE, *ASK, "code", "refresh_token"]), st.text(max_size=30)),
    st.binary(max_size=60),
)
def test_no_input_brings_the_issuer_down(fields: dict[str, str], raw: bytes) -> None:
    async def ask() -> list[int]:
        utf8 = {name: value.encode("utf-8", "replace").decode() for name, value in fields.items()}
        header = {b"authorization": b"Basic " + base64.b64encode(raw)}
        form = {"content-type": "application/x-www-form-urlencoded"}
        async with httpx.AsyncClient(transport=SHARED.network) as http:
            return [
                (await http.get(f"{URL}/authorize", params=ASK | utf8)).status_code,
                (await http.post(f"{URL}/token", data=utf8)).status_code,
                (await http.post(f"{URL}/token", data=utf8, headers=header)).status_code,
                (await http.post(f"{URL}/token", content=raw, headers=form)).status_code,
            ]

    assert all(status < 500 for status in run(ask()))


def test_a_request_by_another_host_name_is_refused(site: Site) -> None:
    for path in ("/authorize", "/jwks", "/.well-known/openid-configuration"):
        assert run(site.http.get(f"{URL}{path}", headers={"host": "evil.example"})).status_code == 400


def test_only_pages_of_the_clients_may_call_from_a_browser(site: Site) -> None:
    def allowed(origin: str) -> str | None:
        response = run(site.http.post(f"{URL}/token", data=SERVICE, headers={"origin": origin}))
        header: str | None = response.headers.get("access-control-allow-origin")
        return header

    assert allowed("http://127.0.0.1:5173") == "http://127.0.0.1:5173"
    assert allowed("https://evil.example") is None


@pytest.mark.parametrize("url", ["https://login.example.com", "http://0.0.0.0:9400", "http://192.168.0.5:9400", ""])
def test_an_issuer_without_passwords_runs_on_this_machine_only(url: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        DemoIssuer(url, AUDIENCE, persons=[ANA], clients=[])


def test_settings_of_a_client_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="fragment"):
        DemoClient("a", redirect_uris=("http://127.0.0.1/#x",))
    with pytest.raises(ValueError, match="needs a secret"):
        DemoClient("a", grants=frozenset({"client_credentials"}))


def test_the_demo_prints_tokens_that_work(site: Site) -> None:
    token = run(site.verifier.verify(site.issuer.issue_access_token("mo", lifetime=timedelta(days=1))))
    assert (token.claims["workspace"], token.claims["roles"]) == ("acme", ["member"])
    assert token.claims["exp"] == site.clock() + 24 * 3600
    service = run(
        site.verifier.verify(site.issuer.issue_access_token("gateway", scopes=["usage:read"], algorithm="ES256"))
    )
    assert (service.claims["client_id"], service.claims["scope"]) == ("gateway", "usage:read")
    with pytest.raises(ValueError, match="no demo person or client"):
        site.issuer.issue_access_token("stranger")


def test_a_persons_claims_cannot_replace_what_the_issuer_says() -> None:
    forger = DemoPerson("ana", "Ana", "ana@example.com", {"iss": "x", "sub": "mo", "aud": "x", "exp": 1, "scope": "x"})
    site = Site(persons=[forger])
    claims = run(site.verifier.verify(site.issuer.issue_access_token("ana"))).claims
    assert (claims["iss"], claims["sub"], claims["aud"], claims["scope"]) == (URL, "ana", AUDIENCE, "")


def test_published_keys_are_public_and_the_previous_pair_stays(site: Site) -> None:
    before = run(site.http.get(f"{URL}/jwks")).json()["keys"]
    site.issuer.rotate_keys()
    after = run(site.http.get(f"{URL}/jwks")).json()["keys"]
    assert [len(before), len(after)] == [2, 4]
    assert after[2:] == before
    assert not any("d" in key or "p" in key for key in after)
    assert {(key["kty"], key["alg"]) for key in before} == {("RSA", "RS256"), ("EC", "ES256")}


def test_kept_keys_survive_a_restart_and_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    keys = SigningKeys.kept_in(tmp_path / "demo")
    file = tmp_path / "demo" / FILE_NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert SigningKeys.kept_in(tmp_path / "demo").published() == keys.published()
    keys.rotate()
    file.chmod(0o644)
    assert SigningKeys.kept_in(tmp_path / "demo").published() == keys.published()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"[[1, 2]]", b'[[{"kty": "RSA"}, {}]]', b'{"a": 1}'])
def test_a_broken_key_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ValueError, match="Remove it to have new ones made"):
        SigningKeys.kept_in(tmp_path)
