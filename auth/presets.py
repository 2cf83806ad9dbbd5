"""The claims of well-known identity providers, as data: docs/identity-providers.md says how to set each one up.

`$name` stands for an option of the preset, which goes into a string of the expression.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from string import Template
from types import MappingProxyType

from creditdesk.auth.claims import ClaimMapping
from creditdesk.auth.issuers import ID_TOKEN_CLAIMS, Credential

NOTHING = "`null`"
"""The expression of what a provider's tokens do not say."""

_OPTION = re.compile(r"[^\s'\"`\\$][^'\"`\\$]*")


@dataclass(frozen=True, slots=True)
class Preset:
    """A provider's tokens: where they say what, what must be true of them, and what has to be known beforehand.

    An option without a default (None) must be given.
    """

    mapping: ClaimMapping = field(default_factory=ClaimMapping)
    requirements: tuple[str, ...] = ()
    options: Mapping[str, str | None] = field(default_factory=dict)
    issuer: str | None = None
    credential: Credential = Credential.ACCESS_TOKEN
    audience_claim: str = "aud"
    id_token_claims: tuple[str, ...] = ID_TOKEN_CLAIMS
    group_endpoint: str | None = None
    group_token_endpoint: str | None = None
    group_scope: str | None = None


_ZITADEL_ROLES = '"urn:zitadel:iam:org:project:roles"'

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "keycloak": Preset(
            # Realm roles, the roles of one client, and full paths of groups: the role map tells them apart.
            mapping=ClaimMapping(
                roles='[realm_access.roles, resource_access."$client".roles, groups][]',
                groups="beneath(groups, '$groups')",
                managed_groups="beneath(groups, '$managers')",
                # `client_id` is put into a service account's tokens; a person has a session.
                service="starts_with(preferred_username, 'service-account-') && client_id != null && sid == null",
            ),
            # "ID" is an id token's, "Refresh" a refresh token's, "DPoP" one that is bound to a key.
            requirements=("typ == 'Bearer'",),
            # Up to version 24 access tokens repeat the nonce; `typ` tells them apart.
            id_token_claims=tuple(claim for claim in ID_TOKEN_CLAIMS if claim != "nonce"),
            options={"client": "creditdesk", "groups": "/creditdesk/groups/", "managers": "/creditdesk/managers/"},
        ),
        "entra": Preset(
            # `sub` differs from one application to another, `oid` is the person's in the tenant.
            mapping=ClaimMapping(
                subject="oid",
                workspace=NOTHING,
                roles="[roles, groups][]",
                scopes="roles",  # a program's permissions are app roles; `scp` is what a person delegates
                managed_groups="beneath(roles, '$managers')",
                service="idtyp == 'app' || (idtyp == null && scp == null && oid == sub)",
                email_verified="xms_edov == `true` || xms_edov == `1` || xms_edov == '1'",
            ),
            # Only access tokens name the client: `azp` in version 2.0, `appid` in 1.0.
            requirements=("tid == '$tenant'", "(azp || appid) != null"),
            options={"tenant": None, "managers": "manages."},
            issuer="https://login.microsoftonline.com/$tenant/v2.0",
            group_endpoint="https://graph.microsoft.com/v1.0/users/{subject}/getMemberObjects",
            group_token_endpoint="https://login.microsoftonline.com/$tenant/oauth2/v2.0/token",  # noqa: S106 - an address
            group_scope="https://graph.microsoft.com/.default",
        ),
        "okta": Preset(
            # `sub` is the login, which can be given to somebody else; `uid` stays a person's.
            mapping=ClaimMapping(
                subject="uid || cid",
                roles="groups",
                scopes="scp",
                groups="beneath(groups, '$groups')",
                managed_groups="beneath(groups, '$managers')",
                service="uid == null && sub == cid",
            ),
            requirements=("cid != null && scp != null",),
            options={"groups": "creditdesk-group-", "managers": "creditdesk-managers-"},
        ),
        "auth0": Preset(
            mapping=ClaimMapping(
                workspace='"$namespace/workspace"',
                roles='["$namespace/roles", permissions][]',
                scopes="permissions || scope",
                groups='"$namespace/groups"',
                managed_groups='"$namespace/managed_groups"',
                # The RFC 9068 profile has `client_id` for `azp`, and no `gty`.
                service="gty == 'client-credentials' || sub == join('', [azp || client_id, '@clients'])",
                email='"$namespace/email"',
                email_verified='"$namespace/email_verified"',
                name='"$namespace/name"',
            ),
            requirements=("(azp || client_id) != null",),
            options={"namespace": None},
        ),
        "google": Preset(
            # The id token says neither roles nor groups: the role map leads from addresses and from the domain.
            mapping=ClaimMapping(
                workspace=NOTHING,
                roles="[email, hd]",
                scopes=NOTHING,
                groups=NOTHING,
                managed_groups=NOTHING,
                service="`false`",
            ),
            requirements=("contains(words('$hosted_domains'), hd)", "email_verified == `true`"),
            options={"hosted_domains": None},
            issuer="https://accounts.google.com",
            credential=Credential.ID_TOKEN,
        ),
        "zitadel": Preset(
            # An object from a role to the organisations that granted it: only ours may.
            mapping=ClaimMapping(
                workspace=NOTHING,
                roles=f"keys_with({_ZITADEL_ROLES}, '$organization')",
                scopes=f"keys_with({_ZITADEL_ROLES}, '$organization')",
                groups=f"beneath(keys_with({_ZITADEL_ROLES}, '$organization'), '$groups')",
                managed_groups=f"beneath(keys_with({_ZITADEL_ROLES}, '$organization'), '$managers')",
                service=f"contains(keys_with({_ZITADEL_ROLES}, '$organization'), '$service_role')",
            ),
            # An id token's audience holds the project, too; it has no `jti`.
            requirements=("jti != null",),
            options={
                "organization": None,
                "groups": "group.",
                "managers": "manages.",
                "service_role": "creditdesk-service",
            },
        ),
        "cognito": Preset(
            mapping=ClaimMapping(
                workspace=NOTHING,
                roles='"cognito:groups"',
                scopes="beneath(words(scope), '$resource_server/')",
                groups="beneath(\"cognito:groups\", '$groups')",
                managed_groups="beneath(\"cognito:groups\", '$managers')",
                service="sub == client_id && username == null",
            ),
            requirements=("token_use == 'access'",),
            options={"resource_server": "creditdesk", "groups": "group.", "managers": "manages."},
            audience_claim="client_id",
        ),
    }
)


def filled(preset: Preset, options: Mapping[str, str]) -> Preset:
    """Return the preset with its options in place, or raise ValueError for one that is missing, unknown or odd."""
    unknown = sorted(options.keys() - preset.options.keys())
    if unknown:
        raise ValueError(f"there is no option {unknown[0]!r}, only {', '.join(preset.options) or 'none'}")
    values = {name: options.get(name, default) for name, default in preset.options.items()}
    for name, value in values.items():
        if value is None:
            raise ValueError(f"the option {name!r} must be given")
        if not _OPTION.fullmatch(value):
            raise ValueError(f"the option {name!r} is empty, or holds a quote, a backslash or a dollar sign")

    def put(text: str | None) -> str | None:
        return (
            None if text is None else Template(text).substitute({name: value or "" for name, value in values.items()})
        )

    expressions = {one.name: put(getattr(preset.mapping, one.name)) for one in fields(preset.mapping)}
    return replace(
        preset,
        mapping=replace(preset.mapping, **expressions),  # type: ignore[arg-type]  # texts become texts
        requirements=tuple(put(one) or "" for one in preset.requirements),
        issuer=put(preset.issuer),
        group_endpoint=put(preset.group_endpoint),
        group_token_endpoint=put(preset.group_token_endpoint),
    )
