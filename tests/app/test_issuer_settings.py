"""CREDITDESK_ISSUERS: several issuers, and what is refused at the start, by a sentence that names the variable."""

import json
from pathlib import Path
from typing import Any

import pytest

from creditdesk.app.settings import SettingsError, handed_down, load_settings
from creditdesk.auth.claims import ClaimMapping
from creditdesk.auth.issuers import Credential, GroupLookup, Issuer
from creditdesk.auth.roles import Role
from support.processes import creditdesk

SECRET = "hush-hush"
ACME: dict[str, Any] = {"issuer": "https://id.acme.example", "audience": "urn:a", "workspace": "acme"}
TENANT = "6a1b8f0e-2f4d-4c7e-9d53-0b6f2a9e7c11"
ENTRA: dict[str, Any] = {"preset": "entra", "options": {"tenant": TENANT}, "audience": "urn:a", "workspace": "acme"}
GOOGLE: dict[str, Any] = {
    "preset": "google",
    "options": {"hosted_domains": "acme.example"},
    "audience": "client-1",
    "workspace": "acme",
}
LOOKUP = {"client_id": "directory-reader", "client_secret": SECRET}


def without(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {member: value for member, value in entry.items() if member != name}


def issuers_of(entries: dict[str, Any]) -> tuple[Issuer, ...]:
    return load_settings({"CREDITDESK_ISSUERS": json.dumps(entries)}).issuers()


def refusal(issuers: object, **others: str) -> str:
    text = issuers if isinstance(issuers, str) else json.dumps(issuers)
    with pytest.raises(SettingsError) as caught:
        load_settings({"CREDITDESK_ISSUERS": text, **others})
    message = str(caught.value)
    assert message.startswith("CREDITDESK_ISSUERS: ")
    assert SECRET not in message
    return message.removeprefix("CREDITDESK_ISSUERS: ")


def test_each_entry_is_an_issuer_with_rules_of_its_own() -> None:
    entries = {
        "acme": ACME | {"audience": ["urn:a", "urn:b"], "algorithms": "ES256", "leeway_seconds": 5},
        "partners": {
            "issuer": "https://id.partners.example/realms/main",
            "audience": ["urn:c"],
            "workspaces": ["north", "south"],
            "claims": {"workspace": "tenant.slug", "roles": "realm_access.roles"},
            "require": ["level == `2`"],
            "role_map": {"boss": "OWNER"},
            "group_map": {"g1": "web"},
            "managed_group_map": {"m1": "web"},
            "credential": "id token",
            "audience_claim": "client_id",
        },
    }
    acme, partners = issuers_of(entries)
    assert acme == Issuer(
        "https://id.acme.example",
        frozenset({"urn:a", "urn:b"}),
        frozenset({"ES256"}),
        leeway=5,
        name="acme",
        mapping=ClaimMapping(workspace="'acme'"),
        workspaces=frozenset({"acme"}),
        role_map={role.value: role for role in Role},
    )
    assert partners == Issuer(
        "https://id.partners.example/realms/main",
        frozenset({"urn:c"}),
        frozenset({"RS256", "ES256"}),
        leeway=60,
        name="partners",
        credential=Credential.ID_TOKEN,
        audience_claim="client_id",
        requirements=("level == `2`",),
        mapping=ClaimMapping(workspace="tenant.slug", roles="realm_access.roles"),
        workspaces=frozenset({"north", "south"}),
        role_map={"boss": Role.OWNER},
        group_map={"g1": "web"},
        managed_group_map={"m1": "web"},
    )


def test_a_file_will_do_as_well_also_for_a_worker(tmp_path: Path) -> None:
    file = tmp_path / "issuers.json"
    file.write_text(json.dumps({"acme": ACME}), encoding="utf-8")
    settings = load_settings({"CREDITDESK_ISSUERS": str(file)})
    assert [issuer.name for issuer in settings.issuers()] == ["acme"]
    with handed_down(settings):
        assert load_settings() == settings
        assert load_settings().issuers() == settings.issuers()


def test_every_workspace_is_spoken_for_only_where_that_is_said() -> None:
    [everywhere] = load_settings(
        {"CREDITDESK_ISSUERS": json.dumps({"a": without(ACME, "workspace") | {"workspaces": "*"}})}
    ).issuers()
    assert (everywhere.workspaces, everywhere.mapping.workspace) == (None, "workspace")
    [single] = load_settings(
        {"CREDITDESK_OIDC_ISSUER": "https://id.example", "CREDITDESK_OIDC_AUDIENCE": "a"}
    ).issuers()
    assert (single.workspaces, single.name) == (None, "")
    neither_or_both = "workspace or workspaces: one of them must say whom the issuer may speak for"
    assert neither_or_both in refusal({"a": without(ACME, "workspace")})
    assert neither_or_both in refusal({"a": ACME | {"workspaces": ["acme"]}})


def test_a_preset_brings_its_rules_and_an_entry_may_change_them() -> None:
    entra, google = issuers_of({"e": ENTRA, "g": GOOGLE})
    assert entra.url == f"https://login.microsoftonline.com/{TENANT}/v2.0"
    assert entra.requirements == (f"tid == '{TENANT}'", "(azp || appid) != null")
    assert (entra.mapping.subject, entra.mapping.workspace) == ("oid", "'acme'")
    assert (google.url, google.credential) == ("https://accounts.google.com", Credential.ID_TOKEN)
    changed = ENTRA | {
        "issuer": f"https://sts.windows.net/{TENANT}/",
        "claims": {"subject": "sub"},
        "require": "acr == '1'",
    }
    [issuer] = issuers_of({"e": changed})
    assert (issuer.url, issuer.mapping.subject) == (f"https://sts.windows.net/{TENANT}/", "sub")
    assert issuer.requirements == (*entra.requirements, "acr == '1'")


def test_groups_are_looked_up_where_the_preset_says_with_a_secret_that_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    expected = GroupLookup(
        "https://graph.microsoft.com/v1.0/users/{subject}/getMemberObjects",
        f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
        "https://graph.microsoft.com/.default",
        "directory-reader",
        SECRET,
    )
    for lookup in (LOOKUP, {"client_id": "directory-reader", "client_secret_file": str(file)}):
        settings = load_settings({"CREDITDESK_ISSUERS": json.dumps({"e": ENTRA | {"groups_overage": lookup}})})
        [issuer] = settings.issuers()
        assert issuer.group_lookup == expected
        assert SECRET not in f"{settings!r} {issuer!r}"


@pytest.mark.parametrize(
    ("issuers", "sentence"),
    [
        ("{", "must be a JSON object from a name to an issuer, or the path of a file that holds one"),
        ("{}", "names no issuer, so nobody could sign in"),
        ("/nowhere/issuers.json", "is neither a JSON object nor a file that can be read: No such file or directory"),
        ('{"a": {}, "a": {}}', "says 'a' twice"),
        ('{"a": {"issuer": "https://a.example", "issuer": "https://b.example"}}', "says 'issuer' twice"),
        ({"Acme Inc": ACME}, "'Acme Inc': a name is of lower-case letters, digits, - and _"),
        ({"a": []}, "a: must be a JSON object"),
        ({"a": without(ACME, "audience")}, "a.audience: Field required"),
        ({"a": ACME | {"audience": []}}, "a.audience: Value should have at least 1 item after validation, not 0"),
        ({"a": ACME | {"audience": ""}}, "a.audience.0: String should have at least 1 character"),
        ({"a": without(ACME, "issuer")}, "a: issuer: must be given"),
        ({"a": ACME | {"issuer": "http://id.acme.example"}}, "a.issuer: must be an https address, or http on this"),
        ({"a": ACME | {"issuer": "https://id.\u0430cme.example"}}, "a.issuer: must be an https address"),
        ({"a": ACME | {"issuer": "https://id.acme.example?tenant=a"}}, "a.issuer: must be an https address"),
        ({"a": ACME | {"issuer": "https://id.acme.example#a"}}, "a.issuer: must be an https address"),
        ({"a": ACME | {"issuer": "https://me@id.acme.example"}}, "a.issuer: must be an https address"),
        ({"a": ACME, "b": ACME}, "a: another entry has the issuer https://id.acme.example, too"),
        ({"a": ACME | {"algorithms": ["RS256", "HS256"]}}, "a.algorithms: must be among ES256,"),
        ({"a": ACME | {"algorithms": "none"}}, "a.algorithms: must be among ES256,"),
        ({"a": ACME | {"leeway_seconds": -1}}, "a.leeway_seconds: Input should be greater than or equal to 0"),
        ({"a": ACME | {"leeway_seconds": 3600}}, "a.leeway_seconds: Input should be less than or equal to 600"),
        ({"a": ACME | {"leeway_seconds": "60"}}, "a.leeway_seconds: Input should be a valid integer"),
        ({"a": ACME | {"workspace": "a' || 'b"}}, "a: workspace: must be a workspace's slug"),
        ({"a": ACME | {"workspace": ""}}, "a: workspace: must be a workspace's slug"),
        ({"a": ACME | {"preset": "entrar"}}, "a: preset: there is no 'entrar', only keycloak, entra, okta, auth0,"),
        ({"a": ACME | {"options": {"tenant": "x"}}}, "a: options: there is no option 'tenant', only none"),
        ({"a": without(ENTRA, "options")}, "a: options: the option 'tenant' must be given"),
        ({"a": ENTRA | {"options": {"tenant": "a'"}}}, "a: options: the option 'tenant' is empty, or holds a quote"),
        ({"a": without(GOOGLE, "options")}, "a: options: the option 'hosted_domains' must be given"),
        (
            {"a": without(GOOGLE, "workspace") | {"workspaces": "*"}},
            "a: claims: workspace is missing, as this",
        ),
        ({"a": ACME | {"claims": {"role": "roles"}}}, "a: claims: there is no 'role', only email, email_verified,"),
        ({"a": ACME | {"claims": {"roles": "a ||"}}}, "a: claims: The claim mapping 'roles' is not a JMESPath"),
        ({"a": ACME | {"claims": {"roles": "nothing(a)"}}}, "a: claims: The claim mapping 'roles' calls nothing()"),
        ({"a": ACME | {"require": ["a =="]}}, "a: require: is not a JMESPath expression: 'a =='"),
        ({"a": ACME | {"role_map": {"boss": "EMPEROR"}}}, "a: role_map: must be a JSON object from the identity"),
        ({"a": ACME | {"credential": "password"}}, "a.credential: Input should be 'access token' or 'id token'"),
        ({"a": ACME | {"audience_claim": "azp"}}, "a.audience_claim: Input should be 'aud' or 'client_id'"),
        ({"a": ACME | {"secret": SECRET}}, "a.secret: Extra inputs are not permitted"),
        ({"a": ACME | {"groups_overage": LOOKUP}}, "a: groups_overage.endpoint: must be given"),
        (
            {"a": ENTRA | {"groups_overage": LOOKUP | {"endpoint": "http://graph.example/{subject}"}}},
            "a: groups_overage: Groups are asked for at an https address",
        ),
        ({"a": ENTRA | {"groups_overage": {"client_id": "x"}}}, "a: groups_overage: one of client_secret and client_s"),
        (
            {"a": ENTRA | {"groups_overage": {"client_id": "x", "client_secret_file": "/nowhere"}}},
            "a: groups_overage: client_secret_file cannot be read",
        ),
    ],
)
def test_what_is_off_is_said_by_name_and_place(issuers: object, sentence: str) -> None:
    assert refusal(issuers).startswith(sentence)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CREDITDESK_OIDC_ISSUER", "https://id.example"),
        ("CREDITDESK_OIDC_AUDIENCE", "urn:a"),
        ("CREDITDESK_CLAIM_ROLES", "groups"),
        ("CREDITDESK_ROLE_MAP", '{"boss": "OWNER"}'),
    ],
)
def test_the_settings_of_a_single_issuer_do_not_stand_beside_several(variable: str, value: str) -> None:
    message = refusal({"a": ACME}, **{variable: value})
    assert message == f"is set beside {variable}, which is for a single issuer: say it in the entry."


def test_a_server_with_a_bad_entry_does_not_start() -> None:
    ended = creditdesk("serve", CREDITDESK_ISSUERS=json.dumps({"a": without(ACME, "workspace")}))
    assert ended.returncode == 2
    assert ended.stderr == (
        "creditdesk: CREDITDESK_ISSUERS: a: workspace or workspaces: one of them must say whom the issuer may speak "
        'for; "*" is all.\n'
    )
