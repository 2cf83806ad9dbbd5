"""Several issuers at once: each token is held to the rules of the issuer that it names, and to no other's."""

import asyncio
import json
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from creditdesk.auth.authenticate import reader_of
from creditdesk.auth.claims import ClaimMapping, Claims
from creditdesk.auth.errors import IssuerUnavailable, Unauthenticated
from creditdesk.auth.issuers import Credential, Issuer
from creditdesk.auth.roles import Role
from creditdesk.auth.tokens import TokenVerifier, VerifiedToken
from support.issuers import run
from support.vendors import Web

ACME = "https://id.acme.example"
ZEN = "https://id.zen.example/"
ISSUERS = (
    Issuer(
        ACME, frozenset({"urn:acme"}), frozenset({"RS256"}), name="acme", workspaces=frozenset({"acme", "acme-lab"})
    ),
    Issuer(
        ZEN,
        frozenset({"urn:zen"}),
        frozenset({"RS256"}),
        leeway=5,
        name="zen",
        mapping=ClaimMapping(workspace="'zen'", roles="groups"),
        role_map={"bosses": Role.OWNER},
        workspaces=frozenset({"zen"}),
    ),
)


class Place:
    """Both issuers, and one verifier of theirs."""

    def __init__(self) -> None:
        self.web = Web(ACME, ZEN)
        self.verifier = TokenVerifier(ISSUERS, self.web.http, self.web.clock)

    def claims(self, **changes: object) -> dict[str, Any]:
        now = int(self.web.clock())
        claims = {"iss": ACME, "sub": "ana", "aud": "urn:acme", "iat": now, "exp": now + 300, "workspace": "acme"}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def zen(self, **changes: object) -> dict[str, Any]:
        return self.claims(**{"iss": ZEN, "aud": "urn:zen", "workspace": None} | changes)

    def verify(self, token: str) -> VerifiedToken:
        return run(self.verifier.verify(token))

    def refusal(self, token: str) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.verify(token)
        assert caught.value.code.name == "UNAUTHENTICATED"
        return caught.value.reason

    def read(self, token: str) -> Claims:
        verified = self.verify(token)
        return reader_of(self.verifier.issuers[verified.issuer]).read(verified.claims)


@pytest.fixture
def place() -> Place:
    return Place()


def test_each_token_is_read_by_the_rules_of_its_issuer(place: Place) -> None:
    acme = place.read(place.web[ACME].sign(place.claims(roles=["admin"], groups=["bosses"])))
    assert (acme.workspace_slug, acme.roles) == ("acme", frozenset({Role.ADMIN}))
    zen = place.read(place.web[ZEN].sign(place.zen(roles=["admin"], groups=["bosses"], workspace="acme")))
    assert (zen.workspace_slug, zen.roles) == ("zen", frozenset({Role.OWNER}))


@pytest.mark.parametrize(
    "issuer",
    [
        f"{ACME}/",
        f"{ACME}:443",
        f"{ACME}:8443",
        ACME.upper(),
        "https://ID.acme.example",
        "http://id.acme.example",
        f" {ACME}",
        f"{ACME}\u200b",
        f"{ACME}\x00",
        "https://id.\u0430cme.example",
        "https://id.xn--cme-8cd.example",
        "https://id.acme.example.evil.example",
        "https://evil.example@id.acme.example",
        f"{ACME}?",
        f"{ACME}#",
        f"{ACME}/.",
        ZEN.rstrip("/"),
        [ACME],
        {ACME: ZEN},
        "",
        None,
    ],
)
def test_an_issuer_that_looks_like_one_of_ours_is_none(place: Place, issuer: object) -> None:
    token = place.web[ACME].sign(place.claims(iss=issuer))
    assert place.refusal(token) == "the token's claim is missing or wrong: iss"
    assert place.web.asked.total() == 0


def test_the_key_of_one_issuer_signs_nothing_in_the_name_of_another(place: Place) -> None:
    place.verify(place.web[ACME].sign(place.claims()))
    place.verify(place.web[ZEN].sign(place.zen()))
    # Both call their key key-0: a key is looked for among those of the issuer that the token names.
    assert place.refusal(place.web[ACME].sign(place.zen())) == "the token's signature is wrong"
    assert place.refusal(place.web[ZEN].sign(place.claims())) == "the token's signature is wrong"


def test_the_audience_of_one_issuer_is_none_of_another_s(place: Place) -> None:
    for claims, vendor in ((place.claims(aud="urn:zen"), ACME), (place.zen(aud="urn:acme"), ZEN)):
        assert place.refusal(place.web[vendor].sign(claims)) == "the token's claim is missing or wrong: aud"


def test_the_leeway_of_one_issuer_is_none_of_another_s(place: Place) -> None:
    late = int(place.web.clock()) - 30
    place.verify(place.web[ACME].sign(place.claims(exp=late)))
    assert place.refusal(place.web[ZEN].sign(place.zen(exp=late))) == "the token has expired"


@pytest.mark.parametrize("slug", ["zen", "ACME", "acme ", "acme-lab-2", "*"])
def test_an_issuer_cannot_speak_for_a_workspace_that_is_not_among_its_own(place: Place, slug: str) -> None:
    assert place.read(place.web[ACME].sign(place.claims(workspace="acme-lab"))).workspace_slug == "acme-lab"
    with pytest.raises(Unauthenticated) as caught:
        place.read(place.web[ACME].sign(place.claims(workspace=slug)))
    assert caught.value.reason == "the issuer may not speak for that workspace"
    assert caught.value.message == Unauthenticated("").message


def test_the_outage_of_one_issuer_harms_no_other(place: Place) -> None:
    place.web[ACME].is_cut = True
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            place.verify(place.web[ACME].sign(place.claims()))
    place.verify(place.web[ZEN].sign(place.zen()))
    run(place.verifier.checks["zen"]())
    with pytest.raises(IssuerUnavailable):
        run(place.verifier.checks["acme"]())
    assert place.web.asked == {ACME: 1, ZEN: 1}
    place.web[ACME].is_cut = False
    place.web.clock.advance(10)
    place.verify(place.web[ACME].sign(place.claims()))


def test_keys_of_one_issuer_serve_through_its_outage_while_another_s_are_renewed(place: Place) -> None:
    place.verify(place.web[ACME].sign(place.claims()))
    place.verify(place.web[ZEN].sign(place.zen()))
    place.web[ACME].is_cut = True
    place.web[ZEN].rotate()
    place.web.clock.advance(3600)
    place.verify(place.web[ACME].sign(place.claims()))
    place.verify(place.web[ZEN].sign(place.zen()))
    assert place.web.asked == {ACME: 2, ZEN: 2}


def test_a_flood_of_unknown_key_ids_at_one_issuer_leaves_a_rotation_at_another_unharmed(place: Place) -> None:
    place.verify(place.web[ACME].sign(place.claims()))
    place.verify(place.web[ZEN].sign(place.zen()))

    async def flood() -> None:
        for number in range(100):
            with pytest.raises(Unauthenticated):
                await place.verifier.verify(place.web[ACME].sign(place.claims(), kid=f"made-up-{number}"))

    run(flood())
    assert place.web.asked == {ACME: 2, ZEN: 1}
    place.web[ZEN].rotate()
    place.verify(place.web[ZEN].sign(place.zen()))
    assert place.web.asked == {ACME: 2, ZEN: 2}


def test_rotations_at_both_issuers_fail_no_request_of_many(place: Place) -> None:
    old = [place.web[ACME].sign(place.claims(jti=str(number))) for number in range(20)]

    async def all_at_once() -> None:
        await asyncio.gather(*(place.verifier.verify(token) for token in old))
        for vendor in place.web.vendors.values():
            vendor.rotate()
        new = [place.web[ACME].sign(place.claims(jti=str(number))) for number in range(20)]
        new += [place.web[ZEN].sign(place.zen(jti=str(number))) for number in range(20)]
        await asyncio.gather(*(place.verifier.verify(token) for token in old + new))

    run(all_at_once())
    assert place.web.asked == {ACME: 2, ZEN: 1}


def test_an_issuer_twice_is_refused(place: Place) -> None:
    for issuers in ((), (ISSUERS[0], ISSUERS[0])):
        with pytest.raises(ValueError, match="none of them twice"):
            TokenVerifier(issuers, place.web.http, place.web.clock)


def test_an_issuer_of_id_tokens_takes_those_and_no_access_tokens() -> None:
    web = Web(ACME)
    issuer = Issuer(ACME, frozenset({"client-1"}), frozenset({"RS256"}), credential=Credential.ID_TOKEN)
    verifier = TokenVerifier([issuer], web.http, web.clock)
    now = int(web.clock())
    claims = {"iss": ACME, "sub": "ana", "aud": "client-1", "iat": now, "exp": now + 300, "nonce": "n", "at_hash": "h"}
    assert run(verifier.verify(web[ACME].sign(claims))).claims["sub"] == "ana"
    assert (
        run(verifier.verify(web[ACME].sign(claims | {"aud": ["client-1"], "azp": "client-1"}))).claims["sub"] == "ana"
    )
    refused: list[tuple[dict[str, Any], dict[str, str], str]] = [
        ({}, {"typ": "at+jwt"}, "the token's type is not that of an id token"),
        ({"aud": ["client-1", "client-2"]}, {}, "the id token is for others, too"),
        ({"azp": "client-2"}, {}, "the id token was given to somebody else"),
        ({"azp": ["client-1"]}, {}, "the id token was given to somebody else"),
        ({"typ": "Bearer"}, {}, "the claims say that this is not an id token"),
        ({"token_use": "access"}, {}, "the claims say that this is not an id token"),
    ]
    for changes, header, reason in refused:
        with pytest.raises(Unauthenticated) as caught:
            run(verifier.verify(web[ACME].sign(claims | changes, **header)))
        assert caught.value.reason == reason


def test_a_requirement_must_be_true_and_not_merely_something(place: Place) -> None:
    issuer = Issuer(ACME, frozenset({"urn:acme"}), requirements=("kind",))
    verifier = TokenVerifier([issuer], place.web.http, place.web.clock)
    run(verifier.verify(place.web[ACME].sign(place.claims(kind=True))))
    for value in (None, False, 1, "true", ["x"], {"a": True}):
        with pytest.raises(Unauthenticated, match="Sign in again"):
            run(verifier.verify(place.web[ACME].sign(place.claims(kind=value))))


def test_where_the_client_stands_for_the_audience_both_are_looked_at(place: Place) -> None:
    issuer = Issuer(ACME, frozenset({"client-1"}), audience_claim="client_id")
    verifier = TokenVerifier([issuer], place.web.http, place.web.clock)
    good: list[dict[str, Any]] = [{}, {"aud": "client-1"}]
    for changes in good:
        run(verifier.verify(place.web[ACME].sign(place.claims(**{"aud": None, "client_id": "client-1"} | changes))))
    bad: list[dict[str, Any]] = [
        {"client_id": "client-2"},
        {"client_id": ["client-1"]},
        {"client_id": None},
        {"aud": "urn:another-api"},
    ]
    for changes in bad:
        with pytest.raises(Unauthenticated):
            run(verifier.verify(place.web[ACME].sign(place.claims(**{"aud": None, "client_id": "client-1"} | changes))))


def test_a_name_that_comes_twice_makes_a_token_unreadable(place: Place) -> None:
    vendor = place.web[ACME]
    sound = json.dumps(place.claims())
    for doubled in (
        sound.replace("{", f'{{"iss": "{ZEN}", ', 1),
        sound.replace("{", '{"sub": "olga", ', 1),
        sound[:-1] + ', "x": {"roles": 1, "roles": 2}}',
    ):
        assert json.loads(doubled)
        assert place.refusal(raw(vendor.keys[-1], {"alg": "RS256", "kid": "key-0"}, doubled)) == (
            "the token is not a signed JWT"
        )
    for header in ('{"alg": "none", "alg": "RS256", "kid": "key-0"}', '{"alg": "RS256", "kid": "a", "kid": "key-0"}'):
        assert place.refusal(raw(vendor.keys[-1], header, sound)) == "the token is not a signed JWT"
    place.verify(raw(vendor.keys[-1], '{"alg": "RS256", "kid": "key-0"}', sound))


def raw(key: RSAKey, header: object, payload: str) -> str:
    """Sign with a header and a payload to the letter, which no library makes."""
    text = header if isinstance(header, str) else json.dumps(header)
    signed = urlsafe_b64encode(text.encode()) + b"." + urlsafe_b64encode(payload.encode())
    signature = JWSRegistry.algorithms["RS256"].sign(signed, key)
    return (signed + b"." + urlsafe_b64encode(signature)).decode()


@pytest.mark.parametrize(
    "kid",
    ["../../../dev/null", "/etc/passwd", "key-0'; DROP TABLE app_user; --", "https://evil.example/key", "", "\x00"],
)
def test_a_key_id_is_only_ever_compared(place: Place, kid: str) -> None:
    place.verify(place.web[ACME].sign(place.claims()))
    assert place.refusal(place.web[ACME].sign(place.claims(), kid=kid)) == (
        "signed with a key that the issuer does not publish"
    )
    assert place.web.asked == {ACME: 2}


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_what_a_header_says_of_keys_and_certificates_is_not_looked_at(place: Place, name: str) -> None:
    stranger = Web(ACME)
    lure: dict[str, Any] = {
        "jwk": stranger[ACME].keys[0].as_dict(private=False),
        "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/certificate",
        "x5c": ["MIIB"],
    }
    forged = stranger[ACME].sign(place.claims(), **{name: lure[name]})
    assert place.refusal(forged) == "the token's signature is wrong"
    assert place.web.asked == {ACME: 1}
    place.verify(place.web[ACME].sign(place.claims(), **{name: lure[name]}))


@pytest.mark.parametrize("proof", [{"jkt": "thumbprint"}, {"x5t#S256": "thumbprint"}, None])
def test_a_token_that_is_bound_to_a_key_is_not_taken_from_a_bearer(place: Place, proof: object) -> None:
    token = place.web[ACME].sign(place.claims() | {"cnf": proof})
    assert place.refusal(token) == "the token is bound to a key, which a bearer does not prove to have"
