from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditdesk.auth.authenticate import bearer_token, www_authenticate
from creditdesk.auth.claims import DEFAULT_ROLE_MAP, MOST_ENTRIES, ClaimMapping, ClaimReader, Claims
from creditdesk.auth.errors import NoToken, Unauthenticated
from creditdesk.auth.expressions import Expression
from creditdesk.auth.roles import Role, permissions_of

ROLE_MAP = {"gov-admin": Role.ADMIN, "gov-member": Role.MEMBER, "gov-groups": Role.GROUP_MANAGER, "job": Role.SERVICE}


def read(mapping: ClaimMapping | None = None, **claims: object) -> Claims:
    return ClaimReader(mapping or ClaimMapping(), ROLE_MAP).read({"sub": "ana", "workspace": "acme"} | claims)


def test_the_default_mapping_reads_plain_claims() -> None:
    claims = read(roles=["gov-admin", "gov-groups"], scope="openid usage:read", managed_groups=["ml", "web"])
    assert claims == Claims(
        subject="ana",
        workspace_slug="acme",
        roles=frozenset({Role.ADMIN, Role.GROUP_MANAGER}),
        scopes=frozenset({"openid", "usage:read"}),
        managed_group_slugs=frozenset({"ml", "web"}),
    )


@pytest.mark.parametrize(
    ("claim", "roles"),
    [
        ("gov-admin", {Role.ADMIN}),
        (["gov-admin", "gov-member"], {Role.ADMIN, Role.MEMBER}),
        (["gov-admin", 5, None, ["gov-member"], {"gov-member": 1}], {Role.ADMIN}),
        ("gov-admin gov-member", set()),
        ("GOV-ADMIN", set()),
        ("gov-admin ", set()),
        ("gov-adm", set()),
        ({"gov-admin": {"org": "acme"}}, set()),
        (None, set()),
        (True, set()),
        (5, set()),
        (1.5, set()),
        ("", set()),
        ([], set()),
        ([[["gov-admin"]]], set()),
        (["other"] * 9_999 + ["gov-admin"], {Role.ADMIN}),
        (["other"] * 10_000 + ["gov-admin"], set()),
        ([f"role-{number}" for number in range(10_000)], set()),
    ],
)
def test_only_exact_matches_of_the_role_map_count(claim: object, roles: set[Role]) -> None:
    assert MOST_ENTRIES == 10_000
    assert read(roles=claim).roles == roles


def test_an_unmapped_role_gives_nothing() -> None:
    claims = read(roles=["superuser", "owner", "ADMIN"])
    assert permissions_of(claims.roles, claims.scopes) == frozenset()


def test_the_default_role_map_knows_every_role_by_its_name() -> None:
    reader = ClaimReader(ClaimMapping(), DEFAULT_ROLE_MAP)
    for role in Role:
        assert reader.read({"sub": "a", "workspace": "w", "roles": role.value}).roles == {role}


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "usage:read  usage:write"}, {"usage:read", "usage:write"}),
        ({"scp": ["usage:read", 5, None]}, {"usage:read"}),
        ({"scope": "", "scp": "usage:read"}, {"usage:read"}),
        ({"scope": {"usage:read": True}}, set()),
        ({"scope": 5}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_a_string_or_a_list(claims: dict[str, Any], scopes: set[str]) -> None:
    assert read(**claims).scopes == scopes


@pytest.mark.parametrize("claim", ["sub", "workspace"])
@pytest.mark.parametrize("value", [None, "", 5, ["ana"], {"a": 1}, "a\x00b", "\ud800", "a\nb", "x" * 256])
def test_without_a_usable_subject_and_workspace_nobody_is_known(claim: str, value: object) -> None:
    claims: dict[str, Any] = {claim: value}
    with pytest.raises(Unauthenticated, match="Sign in again"):
        read(**claims)


def test_group_slugs_that_cannot_be_stored_are_left_out() -> None:
    assert read(managed_groups=["ml", "a\x00", "", "\ud800", "x" * 256, 5]).managed_group_slugs == {"ml"}


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": ["job"]},
        {"roles": ["job", "gov-admin"]},
        {"roles": ["gov-admin"], "idtyp": "app"},
        {"gty": "client-credentials"},
    ],
)
def test_a_service_is_a_service_only(claims: dict[str, Any]) -> None:
    assert read(**claims).roles == {Role.SERVICE}


@pytest.mark.parametrize("claims", [{"idtyp": "user"}, {"idtyp": ["app"]}, {"gty": "password"}, {}])
def test_a_person_is_not_a_service(claims: dict[str, Any]) -> None:
    assert read(roles=["gov-member"], **claims).roles == {Role.MEMBER}


def test_a_person_gets_nothing_from_a_services_scopes() -> None:
    claims = read(roles=["gov-member"], scope="usage:write usage:read")
    assert permissions_of(claims.roles, claims.scopes) == permissions_of({Role.MEMBER}, ())


def test_a_service_expression_must_be_true_and_not_merely_something() -> None:
    mapping = ClaimMapping(service="service")
    assert read(mapping, roles="gov-member", service="yes").roles == {Role.MEMBER}
    assert read(mapping, roles="gov-member", service=1).roles == {Role.MEMBER}
    assert read(mapping, roles="gov-member", service=True).roles == {Role.SERVICE}


@pytest.mark.parametrize(
    ("mapping", "claims", "roles"),
    [
        (
            ClaimMapping(roles='[realm_access.roles, resource_access."gov-api".roles][][]'),  # Keycloak
            {"realm_access": {"roles": ["gov-admin"]}, "resource_access": {"gov-api": {"roles": ["gov-member"]}}},
            {Role.ADMIN, Role.MEMBER},
        ),
        (
            ClaimMapping(service="starts_with(preferred_username, 'service-account-')"),  # Keycloak
            {"preferred_username": "service-account-meter"},
            {Role.SERVICE},
        ),
        (ClaimMapping(roles='"https://gov.example/roles"'), {"https://gov.example/roles": ["gov-admin"]}, {Role.ADMIN}),
        (ClaimMapping(roles="keys(grants)"), {"grants": {"gov-admin": {"org": "x"}}}, {Role.ADMIN}),  # Zitadel
        (ClaimMapping(roles="keys(grants)"), {"grants": "gov-admin"}, set()),
        (ClaimMapping(roles="keys(grants)"), {}, set()),
        (
            ClaimMapping(roles="groups", service="uid == null"),
            {"groups": ["gov-admin"], "uid": "00u"},
            {Role.ADMIN},
        ),  # Okta
    ],
)
def test_the_claims_of_known_providers_can_be_mapped(
    mapping: ClaimMapping, claims: dict[str, object], roles: set[Role]
) -> None:
    assert read(mapping, **claims).roles == roles


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("words('a  b c')", ["a", "b", "c"]),
        ("words('')", []),
        ("words(number)", None),
        ("words(missing)", None),
        ("beneath(list, '/m/')", ["web", "", "a/b"]),
        ("beneath(words('x/a y/b'), 'x/')", ["a"]),
        ("beneath('text', 't')", None),
        ("beneath(missing, 't')", None),
        ("keys_with(roles, 'acme')", ["boss", "member"]),
        ("keys_with(roles, 'ac')", []),
        ("keys_with(list, 'acme')", None),
        ("keys_with(missing, 'acme')", None),
    ],
)
def test_the_added_functions_find_what_they_say_or_nothing(expression: str, found: object) -> None:
    claims = {
        "number": 5,
        "list": ["/m/web", "/x/m/web", "/m/", 5, None, ["/m/web"], "/m/a/b"],
        "roles": {"boss": {"acme": "x"}, "member": {"acme": "x", "zen": "y"}, "guest": {"zen": "y"}, "odd": "acme"},
    }
    assert Expression(expression).search(claims) == found


def test_an_expression_that_fails_counts_as_a_missing_claim() -> None:
    mapping = ClaimMapping(
        roles="ceil(number)", scopes="join(',', number)", managed_groups="list[::0]", service="starts_with(number, 'a')"
    )
    claims = read(mapping, number=float("inf"), list=[1])
    assert (claims.roles, claims.scopes, claims.managed_group_slugs) == (frozenset(), frozenset(), frozenset())


@pytest.mark.parametrize("setting", ["subject", "workspace", "roles", "scopes", "managed_groups", "service"])
@pytest.mark.parametrize(
    "expression", ["", "a.", "a ||", "`", "[", "nothing(a)", "a || length()", "[a, {b: keys(c, d)}]"]
)
def test_a_bad_expression_fails_at_boot_and_names_its_setting(setting: str, expression: str) -> None:
    with pytest.raises(ValueError, match=f"claim mapping '{setting}'"):
        ClaimReader(ClaimMapping(**{setting: expression}), ROLE_MAP)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["roles", "scope", "scp", "managed_groups", "idtyp", "gty"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
            max_leaves=8,
        ),
    )
)
def test_whatever_the_claims_hold_reading_them_never_fails(claims: dict[str, Any]) -> None:
    assert read(**claims).roles <= set(ROLE_MAP.values())


@pytest.mark.parametrize("header", ["Bearer abc", "bearer abc", "BEARER   abc ", "bEaReR abc"])
def test_the_bearer_scheme_has_no_case(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", "Basic YTpi", "abc", "Digest a b", "Bearerabc"])
def test_without_a_bearer_token_the_challenge_names_no_error(header: str | None) -> None:
    with pytest.raises(NoToken) as caught:
        bearer_token(header)
    assert www_authenticate(caught.value) == 'Bearer realm="creditdesk"'


@pytest.mark.parametrize("header", ["Bearer a b", "Bearer a, Bearer b"])
def test_two_tokens_are_one_too_many(header: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_token(header)
    assert www_authenticate(caught.value) == (
        'Bearer realm="creditdesk", error="invalid_token", '
        'error_description="There is no token, or it is not valid here. Sign in again."'
    )
