import asyncio
import json
import warnings
from dataclasses import dataclass

import httpx
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from creditdesk.auth.errors import IssuerUnavailable, Unauthenticated
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.keys import key_table
from creditdesk.auth.tokens import TokenVerifier
from support.issuers import AUDIENCE, URL, Network, Site, run, signed_raw


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_key_set_is_fetched_once_in_ten_minutes(site: Site) -> None:
    token = site.token(exp=int(site.clock()) + 10_000)
    for _ in range(3):
        run(site.verifier.verify(token))
    site.clock.advance(599)
    run(site.verifier.verify(token))
    assert site.fetches == 1
    site.clock.advance(1)
    run(site.verifier.verify(token))
    assert site.fetches == 2


def test_concurrent_requests_share_one_fetch(site: Site) -> None:
    site.network.delay = 0.01

    async def many() -> None:
        await asyncio.gather(*(site.verifier.verify(site.token(jti=str(number))) for number in range(20)))

    run(many())
    assert site.fetches == 1


def test_a_caller_who_hangs_up_does_not_end_the_fetch_for_the_others(site: Site) -> None:
    site.network.delay = 0.01

    async def one_hangs_up() -> None:
        impatient = asyncio.create_task(site.verifier.verify(site.token(jti="1")))
        patient = asyncio.create_task(site.verifier.verify(site.token(jti="2")))
        await asyncio.sleep(0.005)
        impatient.cancel()
        assert (await patient).claims["jti"] == "2"
        with pytest.raises(asyncio.CancelledError):
            await impatient

    run(one_hangs_up())
    assert site.fetches == 1


def test_a_rotation_fails_no_request(site: Site) -> None:
    old = site.token()
    run(site.verifier.verify(old))
    site.issuer.rotate_keys()
    run(site.verifier.verify(site.token()))
    run(site.verifier.verify(old))
    assert site.fetches == 2


def test_a_flood_of_unknown_key_ids_causes_one_fetch_in_ten_seconds(site: Site) -> None:
    run(site.verifier.verify(site.token()))

    payload = json.dumps(site.claims()).encode()

    async def flood() -> None:
        for number in range(200):
            header = {"alg": "RS256", "kid": f"made-up-{number}"}
            with pytest.raises(Unauthenticated):
                await site.verifier.verify(signed_raw(site, header, payload))

    run(flood())
    assert site.fetches == 2
    site.clock.advance(9.9)
    run(flood())
    assert site.fetches == 2
    site.clock.advance(0.1)
    run(flood())
    assert site.fetches == 3
    run(site.verifier.verify(site.token()))
    assert site.fetches == 3


def test_a_flood_during_an_outage_causes_one_attempt_in_ten_seconds_too(site: Site) -> None:
    site.network.is_cut = True

    async def flood() -> None:
        for _ in range(50):
            with pytest.raises(IssuerUnavailable):
                await site.verifier.verify(site.token())

    run(flood())
    assert site.fetches == 1
    site.clock.advance(10)
    run(flood())
    assert site.fetches == 2


def test_known_keys_carry_an_outage_for_a_day(site: Site) -> None:
    token = site.token(exp=int(site.clock()) + 200_000)
    run(site.verifier.verify(token))
    site.network.is_cut = True
    site.clock.advance(24 * 3600 - 1)
    run(site.verifier.verify(token))
    run(site.verifier.verify(site.token()))
    site.clock.advance(1)
    with pytest.raises(IssuerUnavailable):
        run(site.verifier.verify(token))
    site.network.is_cut = False
    site.clock.advance(10)
    run(site.verifier.verify(token))


def test_nobody_waits_for_an_issuer_that_is_known_to_be_down(site: Site) -> None:
    run(site.verifier.verify(site.token()))
    site.network.is_cut = True
    site.clock.advance(600)
    run(site.verifier.verify(site.token()))

    async def at_once() -> None:
        site.clock.advance(10)
        site.network.delay = 60
        async with asyncio.timeout(1):
            await site.verifier.verify(site.token())

    run(at_once())
    assert site.fetches == 3


def test_whoever_has_a_known_key_does_not_wait_for_an_issuer_that_hangs(site: Site) -> None:
    tokens = [site.token(jti=str(number), exp=int(site.clock()) + 10_000) for number in range(20)]
    run(site.verifier.verify(tokens[0]))

    async def while_it_hangs() -> None:
        site.clock.advance(600)
        site.network.delay = 60
        async with asyncio.timeout(4):  # less than a fetch may take
            await asyncio.gather(*(site.verifier.verify(token) for token in tokens))
            for token in tokens:
                await site.verifier.verify(token)

    run(while_it_hangs())
    assert site.fetches == 2
    site.network.delay = 0
    site.clock.advance(10)
    site.issuer.rotate_keys()
    run(site.verifier.verify(site.token()))
    assert site.fetches == 3


def test_a_clock_set_back_does_not_stop_fetching(site: Site) -> None:
    run(site.verifier.verify(site.token()))
    site.issuer.rotate_keys()
    run(site.verifier.verify(site.token()))
    site.clock.advance(-3600)
    site.issuer.rotate_keys()
    run(site.verifier.verify(site.token()))
    assert site.fetches == 3


def test_an_outage_at_first_start_is_unavailable_and_not_unauthenticated(site: Site) -> None:
    site.network.is_cut = True
    with pytest.raises(IssuerUnavailable) as caught:
        run(site.verifier.verify(site.token()))
    assert caught.value.code.name == "ISSUER_UNAVAILABLE"
    with pytest.raises(IssuerUnavailable):
        run(site.verifier.checks[""]())
    site.network.is_cut = False
    site.clock.advance(10)
    run(site.verifier.checks[""]())
    run(site.verifier.verify(site.token()))
    assert site.fetches == 2


def test_the_check_is_content_with_keys_at_hand(site: Site) -> None:
    run(site.verifier.checks[""]())
    site.network.is_cut = True
    run(site.verifier.checks[""]())
    assert site.fetches == 1


def test_an_issuer_that_looks_alike_in_discovery_is_not_believed(site: Site) -> None:
    for claimed in (f"{URL}/", "http://127.0.0.1:9401", None, 5):
        verifier = against({"issuer": claimed, "jwks_uri": f"{URL}/jwks"}, site)
        with pytest.raises(IssuerUnavailable):
            run(verifier.verify(site.token()))


def test_keys_are_not_fetched_in_the_clear_from_elsewhere(site: Site) -> None:
    for address in ("http://login.example.com/jwks", "file:///etc/passwd", "", None, "http://[", 5):
        verifier = against({"issuer": URL, "jwks_uri": address}, site)
        with pytest.raises(IssuerUnavailable):
            run(verifier.verify(site.token()))


@pytest.mark.parametrize("answer", [b"", b"[]", b"5", b"\xff", b"[" * 100_000, b"{" + b" " * (1 << 20) + b"}"])
def test_an_issuer_that_talks_nonsense_is_unavailable(site: Site, answer: bytes) -> None:
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=answer)))
    with pytest.raises(IssuerUnavailable):
        run(TokenVerifier([Issuer(URL, frozenset({AUDIENCE}))], http, now=site.clock).verify(site.token()))


def test_an_answer_that_is_too_large_is_not_read(site: Site) -> None:
    padded = json.dumps({"issuer": URL, "jwks_uri": f"{URL}/jwks", "padding": "x" * (1 << 20)})

    def answer(request: httpx.Request) -> httpx.Response:
        is_jwks = request.url.path == "/jwks"
        return httpx.Response(200, text=json.dumps(site.issuer._keys.published()) if is_jwks else padded)  # noqa: SLF001 - what its /jwks serves

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    with pytest.raises(IssuerUnavailable):
        run(TokenVerifier([Issuer(URL, frozenset({AUDIENCE}))], http, now=site.clock).verify(site.token()))


def test_a_redirect_of_the_issuer_is_not_followed(site: Site) -> None:
    asked: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"location": "https://evil.example/"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(redirect), follow_redirects=True)
    with pytest.raises(IssuerUnavailable):
        run(TokenVerifier([Issuer(URL, frozenset({AUDIENCE}))], http, now=site.clock).verify(site.token()))
    assert asked == [f"{URL}/.well-known/openid-configuration"]


def against(discovery: dict[str, object], site: Site) -> TokenVerifier:
    @dataclass
    class Lying(Network):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            is_jwks = request.url.path == "/jwks"
            return httpx.Response(200, json=site.issuer._keys.published() if is_jwks else discovery)  # noqa: SLF001 - what its /jwks serves

    http = httpx.AsyncClient(transport=Lying(site.issuer.app()))
    return TokenVerifier([Issuer(URL, frozenset({AUDIENCE}))], http, now=site.clock)


def test_only_public_signature_keys_count_and_a_broken_one_spoils_nothing() -> None:
    def public(key: RSAKey | ECKey | OKPKey, **changes: object) -> dict[str, object]:
        return {**key.as_dict(private=False), **changes}

    rsa, ec, okp = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        short = RSAKey.generate_key(1024)
    published = [
        public(rsa, kid="rsa"),
        public(ec, kid="ec", use="sig"),
        public(okp, kid="okp", key_ops=["verify"]),
        public(rsa, kid="encrypts", use="enc"),
        public(rsa, kid="signs-only", key_ops=["sign"]),
        public(rsa, kid="for-ps256", alg="PS256"),
        public(short, kid="short"),
        public(ec, kid="unknown-curve", crv="P-999"),
        public(ec, kid="off-curve", x=ec.as_dict()["y"]),
        public(rsa, kid="odd-use", use=["sig"]),
        public(rsa, kid=7),
        {**rsa.as_dict(private=True), "kid": "private"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "AKP", "kid": "post-quantum"},
        {"kty": "RSA", "kid": "empty"},
        "key",
        None,
    ]
    table = key_table({"keys": published}, ["RS256", "ES256", "Ed25519"])
    assert set(table) == {
        ("rsa", "RS256"),
        ("ec", "ES256"),
        ("okp", "Ed25519"),
        (None, "RS256"),
        (None, "ES256"),
        (None, "Ed25519"),
    }
    nothings: list[dict[str, object]] = [{}, {"keys": None}, {"keys": {}}, {"keys": []}]
    for nothing in nothings:
        assert key_table(nothing, ["RS256"]) == {}


def test_without_a_key_id_two_keys_of_an_algorithm_are_one_too_many() -> None:
    keys = [RSAKey.generate_key(2048).as_dict(private=False) for _ in range(2)]
    assert key_table({"keys": keys}, ["RS256"]) == {}
