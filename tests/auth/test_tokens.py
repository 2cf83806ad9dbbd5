import base64
import contextlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import RSAKey

from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.tokens import MOST_REMEMBERED
from support.issuers import AUDIENCE, URL, Site, run, signed_raw, signing_key


@pytest.fixture
def site() -> Site:
    return Site()


def refusal(site: Site, token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        run(site.verifier.verify(token))
    return caught.value


def segment(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_genuine_token_is_let_in(site: Site, algorithm: str) -> None:
    token = run(site.verifier.verify(site.token(algorithm=algorithm, workspace="acme")))
    assert (token.issuer, token.claims["sub"], token.claims["workspace"]) == (URL, "ana", "acme")


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_types_of_access_tokens_are_let_in(site: Site, typ: str) -> None:
    assert run(site.verifier.verify(site.token(typ=typ))).claims["sub"] == "ana"


def test_any_of_several_audiences_will_do(site: Site) -> None:
    verifier = site.new_verifier(audiences=frozenset({"urn:old", "urn:new"}))
    assert run(verifier.verify(site.token(aud=["account", "urn:new"]))).claims["sub"] == "ana"


def test_a_clock_a_minute_off_is_forgiven(site: Site) -> None:
    now = int(site.clock())
    forgiven: list[dict[str, Any]] = [{"exp": now - 59}, {"nbf": now + 60}, {"iat": now + 60}]
    for claims in forgiven:
        run(site.verifier.verify(site.token(**claims)))


def test_alg_none_is_refused_in_every_spelling(site: Site) -> None:
    for name in ("none", "None", "NONE", "nOnE"):
        token = f"{segment({'alg': name, 'typ': 'JWT'})}.{segment(site.claims())}."
        assert refusal(site, token).reason == "the token's algorithm is not allowed"
    assert site.fetches == 0


def test_hs256_keyed_with_the_public_key_is_refused(site: Site) -> None:
    public = signing_key(site)
    signed = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': public.kid})}.{segment(site.claims())}"
    for secret in (public.as_pem(private=False), public.as_der(private=False)):
        # By hand: joserfc refuses to make such a token.
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
        assert refusal(site, f"{signed}.{mac}").reason == "the token's algorithm is not allowed"
    assert site.fetches == 0


def test_a_setting_for_a_symmetric_algorithm_is_refused() -> None:
    for algorithms in ({"HS256"}, {"RS256", "HS256"}, {"none"}, set[str]()):
        with pytest.raises(ValueError, match="algorithms must be among"):
            Issuer(URL, frozenset({AUDIENCE}), algorithms=frozenset(algorithms))


def test_settings_that_accept_too_much_are_refused() -> None:
    for url in ("http://login.example.com", "ftp://login.example.com", "login.example.com", ""):
        with pytest.raises(ValueError, match="must be an https address"):
            Issuer(url, frozenset({AUDIENCE}))
    for audiences in (frozenset[str](), frozenset({""})):
        with pytest.raises(ValueError, match="at least one audience"):
            Issuer(URL, audiences)
    with pytest.raises(ValueError, match="leeway"):
        Issuer(URL, frozenset({AUDIENCE}), leeway=-1)


@pytest.mark.parametrize("audience", ["urn:other", ["urn:other"], f"{AUDIENCE}/", [], "", 5, {"a": AUDIENCE}, None])
def test_another_audience_is_refused(site: Site, audience: object) -> None:
    assert refusal(site, site.token(aud=audience)).reason == "the token's claim is missing or wrong: aud"


@pytest.mark.parametrize("issuer", [f"{URL}/", URL.upper(), "https://evil.example", [URL], 5, None])
def test_another_issuer_is_refused(site: Site, issuer: object) -> None:
    assert refusal(site, site.token(iss=issuer)).reason == "the token's claim is missing or wrong: iss"


@pytest.mark.parametrize("subject", ["", 5, ["ana"], None])
def test_a_token_without_a_subject_is_refused(site: Site, subject: object) -> None:
    assert refusal(site, site.token(sub=subject)).reason == "the token's claim is missing or wrong: sub"


def test_an_expired_token_is_refused_and_says_so(site: Site) -> None:
    error = refusal(site, site.token(exp=int(site.clock()) - 60))
    assert error.message == "The access token has expired. Get a new one."


@pytest.mark.parametrize("expiry", [None, "tomorrow", True, [], {}, float("nan"), float("inf")])
def test_a_token_that_does_not_expire_is_refused(site: Site, expiry: object) -> None:
    assert refusal(site, site.token(exp=expiry)).code.name == "UNAUTHENTICATED"


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_of_the_future_is_refused(site: Site, claim: str) -> None:
    claims: dict[str, Any] = {claim: int(site.clock()) + 61}
    error = refusal(site, site.token(**claims))
    assert error.reason == f"the token's claim is missing or wrong: {claim}"


def test_a_critical_extension_is_refused(site: Site) -> None:
    header = {"alg": "RS256", "kid": signing_key(site).kid, "crit": ["b64"], "b64": True}
    token = signed_raw(site, header, json.dumps(site.claims()).encode())
    assert refusal(site, token).reason == "the token has critical extensions, and we know none"


def test_a_changed_payload_is_refused(site: Site) -> None:
    header, _, signature = site.token().split(".")
    error = refusal(site, f"{header}.{segment(site.claims(sub='owner'))}.{signature}")
    assert error.reason == "the token's signature is wrong"


def test_a_signature_of_another_key_under_a_published_id_is_refused(site: Site) -> None:
    key = RSAKey.generate_key(2048, {"kid": str(signing_key(site).kid)})
    token = jws.serialize_compact({"alg": "RS256", "kid": key.kid}, json.dumps(site.claims()), key)
    assert refusal(site, token).reason == "the token's signature is wrong"


def test_a_key_that_the_token_brings_along_is_not_used(site: Site) -> None:
    key = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "jwk": key.as_dict(private=False), "jku": "https://evil.example/jwks"}
    registry = jws.JWSRegistry()
    registry.max_header_length = 4096
    token = jws.serialize_compact(header, json.dumps(site.claims()), key, registry=registry)
    assert refusal(site, token).reason == "the token's signature is wrong"
    assert set(site.network.requests) == {"/.well-known/openid-configuration", "/jwks"}


@pytest.mark.parametrize("typ", ["id_token", "dpop+jwt", "logout+jwt", "", "secevent+jwt"])
def test_a_token_of_another_type_is_refused(site: Site, typ: str) -> None:
    assert refusal(site, site.token(typ=typ)).reason == "the token's type is not that of an access token"


@pytest.mark.parametrize(
    "mark", [{"nonce": "n"}, {"at_hash": "h"}, {"c_hash": "h"}, {"typ": "ID"}, {"typ": "Refresh"}, {"token_use": "id"}]
)
def test_an_id_token_is_not_an_access_token_even_for_our_audience(site: Site, mark: dict[str, str]) -> None:
    assert "access token" in refusal(site, site.issuer.sign(site.claims(**mark), typ="JWT")).reason


def test_a_token_is_bounded(site: Site) -> None:
    run(site.verifier.verify(site.token(padding="x" * 11_000)))
    assert refusal(site, site.token(padding="x" * 12_000)).reason == "the token is too large or not ASCII"


def test_a_token_without_a_key_id_is_verified_by_the_only_key_of_its_algorithm(site: Site) -> None:
    token = signed_raw(site, {"alg": "RS256"}, json.dumps(site.claims()).encode())
    assert run(site.verifier.verify(token)).claims["sub"] == "ana"
    site.issuer.rotate_keys()
    site.verifier = site.new_verifier()
    assert refusal(site, token).reason == "signed with a key that the issuer does not publish"


def test_a_refusal_never_repeats_the_token(site: Site) -> None:
    for token in ("hunter2", "a.b.hunter2", site.token(sub="", secret="hunter2"), site.token(aud="hunter2")):
        error = refusal(site, token)
        assert "hunter2" not in error.message + error.reason
        assert token not in error.message + error.reason


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
SHARED = Site()


def never_anything_but_unauthenticated(token: str) -> None:
    with contextlib.suppress(Unauthenticated):
        run(SHARED.verifier.verify(token))


@settings(deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_\-.=]{0,200}", fullmatch=True))
def test_any_text_is_at_worst_unauthenticated(token: str) -> None:
    never_anything_but_unauthenticated(token)


@settings(deadline=None)
@given(
    JSON_VALUES
    | st.fixed_dictionaries({"alg": st.just("RS256") | JSON_VALUES, "kid": JSON_VALUES, "typ": JSON_VALUES}),
    JSON_VALUES,
    st.binary(max_size=300),
)
def test_any_header_and_payload_are_at_worst_unauthenticated(header: object, payload: object, signature: bytes) -> None:
    encoded = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    never_anything_but_unauthenticated(f"{segment(header)}.{segment(payload)}.{encoded}")


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "typ", "token_use"]), JSON_VALUES)
)
def test_any_claims_that_the_issuer_signs_are_at_worst_unauthenticated(changes: dict[str, object]) -> None:
    payload = json.dumps({**SHARED.claims(), **changes}).encode()
    header = {"alg": "RS256", "kid": signing_key(SHARED).kid}
    never_anything_but_unauthenticated(signed_raw(SHARED, header, payload))


@pytest.mark.parametrize(
    "header",
    [
        ["alg", "b64"],
        "alg",
        {"alg": "RS256", "kid": ["a"]},
        {"alg": "RS256", "kid": {"a": 1}},
        {"alg": "RS256", "kid": 5},
        {"alg": ["RS256"]},
        {"alg": {"RS256": 1}},
        {"alg": "RS256", "crit": 5},
        {"alg": "RS256", "crit": [["b64"]], "b64": False},
        {"alg": "RS256", "typ": ["JWT"]},
        {"alg": "RS256", "typ": None},
        {"alg": "RS256", "x5u": 5},
    ],
)
def test_a_header_of_another_form_is_refused(site: Site, header: object) -> None:
    token = f"{segment(header)}.{segment(site.claims())}.{segment('signature')}"
    assert refusal(site, token).code.name == "UNAUTHENTICATED"


def test_a_header_nested_without_end_is_refused(site: Site) -> None:
    nested = base64.urlsafe_b64encode(b"[" * 6000).decode()
    assert refusal(site, f"{nested}.{segment({})}.").reason == "the token is not a signed JWT"


@pytest.mark.parametrize(
    "payload", [b"", b"5", b"[]", b"null", b"\xff", b"[" * 11_000, b'{"exp":' + b"9" * 5000 + b"}", b"{"]
)
def test_a_signed_payload_that_is_no_object_is_refused(site: Site, payload: bytes) -> None:
    header = {"alg": "RS256", "kid": signing_key(site).kid}
    assert refusal(site, signed_raw(site, header, payload)).code.name == "UNAUTHENTICATED"


def test_a_verified_token_is_remembered_until_it_expires(site: Site) -> None:
    token = site.token()
    first = run(site.verifier.verify(token))
    assert run(site.verifier.verify(token)) is first
    site.clock.advance(359)
    assert run(site.verifier.verify(token)) is first
    site.clock.advance(1)
    assert refusal(site, token).message == "The access token has expired. Get a new one."


def test_a_remembered_token_ends_when_its_key_is_withdrawn(site: Site) -> None:
    token = site.token(exp=int(site.clock()) + 10_000)
    run(site.verifier.verify(token))
    site.issuer.rotate_keys()
    site.issuer.rotate_keys()
    run(site.verifier.verify(token))
    site.clock.advance(600)
    assert refusal(site, token).reason == "signed with a key that the issuer does not publish"


def test_a_key_replaced_under_the_same_id_ends_its_tokens(site: Site) -> None:
    token = site.token(exp=int(site.clock()) + 10_000)
    run(site.verifier.verify(token))
    kid = str(signing_key(site).kid)
    other = RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})
    site.issuer._keys._pairs[0] = (other, site.issuer._keys._pairs[0][1])  # noqa: SLF001 - no issuer should do this
    site.clock.advance(600)
    assert refusal(site, token).reason == "the token's signature is wrong"


def test_what_is_remembered_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_REMEMBERED == 10_000
    monkeypatch.setattr("creditdesk.auth.tokens.MOST_REMEMBERED", 3)
    tokens = [site.token(jti=str(number)) for number in range(4)]

    async def verify_all() -> None:
        first = [await site.verifier.verify(token) for token in tokens[:3]]
        assert await site.verifier.verify(tokens[0]) is first[0]
        await site.verifier.verify(tokens[3])
        assert await site.verifier.verify(tokens[0]) is first[0]
        assert await site.verifier.verify(tokens[1]) is not first[1]

    run(verify_all())


def test_a_refused_token_is_not_remembered(site: Site) -> None:
    token = site.token(nbf=int(site.clock()) + 120)
    refusal(site, token)
    site.clock.advance(60)
    run(site.verifier.verify(token))
