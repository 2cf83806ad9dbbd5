"""The presets, held to the shapes of the tokens that the providers document: tests/auth/tokens/."""

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from creditdesk.app.issuer_settings import read_issuers
from creditdesk.auth.authenticate import reader_of
from creditdesk.auth.claims import ClaimMapping
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.expressions import Expression
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.presets import NOTHING, PRESETS, filled
from creditdesk.auth.roles import Role, permissions_of
from creditdesk.auth.tokens import TokenVerifier
from support.issuers import run
from support.vendors import Web

FILES = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("tokens/*.json")
}
TOKENS = [pytest.param(name, token, id=f"{name}: {token['name']}") for name in FILES for token in FILES[name]["tokens"]]


def issuer_of(file: dict[str, Any]) -> Issuer:
    [issuer] = read_issuers(json.dumps({"vendor": file["configuration"]}))
    return issuer


@pytest.fixture(scope="module")
def web() -> Web:
    """Every vendor of the files, with keys of its own."""
    return Web(*(issuer_of(file).url for file in FILES.values()))


@pytest.mark.parametrize(("name", "token"), TOKENS)
def test_a_token_of_the_documented_shape_says_what_it_should(name: str, token: dict[str, Any], web: Web) -> None:
    issuer = issuer_of(FILES[name])
    verifier = TokenVerifier([issuer], web.http, web.clock)
    now = int(web.clock())
    signed = web[issuer.url].sign(token["claims"] | {"iat": now, "nbf": now, "exp": now + 300}, **token["header"])
    if "refused" in token:
        with pytest.raises(Unauthenticated) as caught:
            reader_of(issuer).read(run(verifier.verify(signed)).claims)
        assert (caught.value.reason, caught.value.code.name) == (token["refused"], token.get("code", "UNAUTHENTICATED"))
        return
    claims = reader_of(issuer).read(run(verifier.verify(signed)).claims)
    said = {
        "kind": "SERVICE" if Role.SERVICE in claims.roles else "PERSON",
        "subject": claims.subject,
        "workspace": claims.workspace_slug,
        "roles": sorted(role.name for role in claims.roles),
        "scopes": sorted(claims.scopes),
        "groups": None if claims.group_slugs is None else sorted(claims.group_slugs),
        "managed_groups": sorted(claims.managed_group_slugs),
        "email": claims.email,
        "email_verified": claims.is_email_verified,
        "name": claims.display_name,
    }
    assert {name: said[name] for name in token["says"]} == token["says"]


def test_every_preset_has_recorded_tokens_of_persons_of_programs_and_of_the_wrong_kind() -> None:
    assert {file["configuration"]["preset"] for file in FILES.values()} == set(PRESETS)
    assert all(file["source"] for file in FILES.values())
    for preset in PRESETS:
        tokens = [one for file in FILES.values() if file["configuration"]["preset"] == preset for one in file["tokens"]]
        kinds = {token["says"]["kind"] for token in tokens if "says" in token}
        # Google's id tokens are persons' alone.
        assert kinds == ({"PERSON"} if preset == "google" else {"PERSON", "SERVICE"})
        assert any("managed_groups" in token.get("says", {}) for token in tokens)
        assert any("access token" in token["name"] or "id token" in token["name"] for token in tokens)


@pytest.mark.parametrize("name", FILES)
def test_nobody_is_a_person_and_a_program_at_once(name: str) -> None:
    issuer = issuer_of(FILES[name])
    # Even if every role that the provider knows led to ours, and one of them to SERVICE.
    entries = [entry for token in FILES[name]["tokens"] for entry in every_text(token["claims"])]
    generous = replace(issuer, role_map={entry: list(Role)[number % len(Role)] for number, entry in enumerate(entries)})
    for token in FILES[name]["tokens"]:
        if "says" in token:
            claims = reader_of(generous).read(token["claims"])
            permitted = permissions_of(claims.roles, claims.scopes)
            if Role.SERVICE in claims.roles:
                assert claims.roles == {Role.SERVICE}
                assert permitted == permissions_of({Role.SERVICE}, claims.scopes)
            else:
                assert permitted == permissions_of(claims.roles, ())


def every_text(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        yield from (text for one in value for text in every_text(one))
        if isinstance(value, dict):
            yield from (text for one in value.values() for text in every_text(one))


@pytest.mark.parametrize("name", PRESETS)
def test_the_expressions_of_a_preset_are_sound(name: str) -> None:
    preset = filled(PRESETS[name], {option: f"of-{option}" for option in PRESETS[name].options})
    for one in fields(ClaimMapping):
        expression = getattr(preset.mapping, one.name)
        assert "$" not in expression
        Expression(expression)
    for requirement in preset.requirements:
        assert "$" not in requirement
        assert Expression(requirement).search({}) is not True
    assert Expression(NOTHING).search({"null": "x"}) is None


@pytest.mark.parametrize("value", ["", " ", "a'b", 'a"b', "a`b", "a\\b", "$other", "a$b", "a' || 'b"])
def test_an_option_cannot_leave_the_string_that_it_is_put_into(value: str) -> None:
    with pytest.raises(ValueError, match="the option 'tenant'"):
        filled(PRESETS["entra"], {"tenant": value})
