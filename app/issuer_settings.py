"""Several issuers at once, as CREDITDESK_ISSUERS holds them: read, filled in by presets, and checked."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from creditdesk.app.setting_values import asymmetric, issuer_url, role_map
from creditdesk.auth.claims import DEFAULT_ROLE_MAP, ClaimMapping, ClaimReader
from creditdesk.auth.expressions import Expression
from creditdesk.auth.issuers import Credential, GroupLookup, Issuer
from creditdesk.auth.presets import NOTHING, PRESETS, Preset, filled
from creditdesk.auth.roles import Role

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SLUG = re.compile(r"[^\s'\"`\\]+")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_listed), Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)


class _Lookup(_Part):
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    client_secret_file: str | None = None
    endpoint: str | None = None
    token_endpoint: str | None = None
    scope: str | None = None


class IssuerEntry(_Part):
    """What an issuer is described by; docs/identity-providers.md says it in words."""

    preset: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    issuer: Annotated[str, AfterValidator(issuer_url)] | None = None
    audience: Annotated[_Texts, Field(strict=False)]
    algorithms: Annotated[_Texts, Field(strict=False), AfterValidator(asymmetric)] = ("RS256", "ES256")
    leeway_seconds: int = Field(60, ge=0, le=600)
    credential: Literal["access token", "id token"] | None = None
    audience_claim: Literal["aud", "client_id"] | None = None
    workspace: str | None = None
    workspaces: Annotated[_Texts, Field(strict=False)] | None = None
    claims: dict[str, str] = Field(default_factory=dict)
    require: Annotated[_Texts, Field(strict=False)] = ()
    role_map: dict[str, str] | None = None
    group_map: dict[str, str] | None = None
    managed_group_map: dict[str, str] | None = None
    groups_overage: Literal["deny"] | _Lookup = "deny"


def read_issuers(given: str) -> tuple[Issuer, ...]:
    """Return the issuers of a JSON object by name, or of the file that holds it; raise ValueError with a sentence."""
    entries = _json_object(given)
    if not entries:
        raise ValueError("names no issuer, so nobody could sign in")
    issuers = tuple(_named_issuer(name, entry) for name, entry in entries.items())
    addresses = [issuer.url for issuer in issuers]
    for issuer in issuers:
        if addresses.count(issuer.url) > 1:
            raise ValueError(f"{issuer.name}: another entry has the issuer {issuer.url}, too")
    return issuers


def _json_object(given: str) -> dict[str, object]:
    text = given
    if not given.lstrip().startswith("{"):
        try:
            text = Path(given).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not text"
            raise ValueError(f"is neither a JSON object nor a file that can be read: {reason}") from None
    try:
        entries = json.loads(text, object_pairs_hook=_named_once)
    except _TwiceError as error:
        raise ValueError(f"says {error} twice") from None
    except (ValueError, RecursionError):
        # Nothing of the text: it may hold a secret.
        entries = None
    if not isinstance(entries, dict):
        raise ValueError("must be a JSON object from a name to an issuer, or the path of a file that holds one")  # noqa: TRY004 - of what is written
    return entries


class _TwiceError(ValueError):
    pass


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _TwiceError(repr(name))
        found[name] = value
    return found


def _named_issuer(name: str, entry: object) -> Issuer:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r}: a name is of lower-case letters, digits, - and _")
    if not isinstance(entry, dict):
        raise ValueError(f"{name}: must be a JSON object")  # noqa: TRY004 - of what is written
    try:
        return _issuer(name, IssuerEntry.model_validate(entry))
    except ValidationError as error:
        # The message only: pydantic's own text would quote the value.
        off = error.errors()[0]
        place = ".".join(str(part) for part in (name, *off["loc"]))
        raise ValueError(f"{place}: {off['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _issuer(name: str, entry: IssuerEntry) -> Issuer:
    preset = _preset(entry)
    url = entry.issuer or preset.issuer
    if url is None:
        raise ValueError("issuer: must be given")
    mapping, workspaces = _workspaces(entry, _mapping(entry, preset))
    requirements = (*preset.requirements, *entry.require)
    for text in entry.require:
        try:
            Expression(text)
        except ValueError as error:
            raise ValueError(f"require: {error}") from None
    return Issuer(
        url,
        frozenset(entry.audience),
        frozenset(entry.algorithms),
        leeway=entry.leeway_seconds,
        name=name,
        credential=preset.credential if entry.credential is None else Credential(entry.credential),
        audience_claim=entry.audience_claim or preset.audience_claim,
        id_token_claims=preset.id_token_claims,
        requirements=requirements,
        mapping=mapping,
        role_map=_role_map(entry.role_map),
        workspaces=workspaces,
        group_map=entry.group_map,
        managed_group_map=entry.managed_group_map,
        group_lookup=None if isinstance(entry.groups_overage, str) else _group_lookup(entry.groups_overage, preset),
    )


def _preset(entry: IssuerEntry) -> Preset:
    preset = Preset() if entry.preset is None else PRESETS.get(entry.preset)
    if preset is None:
        raise ValueError(f"preset: there is no {entry.preset!r}, only {', '.join(PRESETS)}")
    try:
        return filled(preset, entry.options)
    except ValueError as error:
        raise ValueError(f"options: {error}") from None


def _mapping(entry: IssuerEntry, preset: Preset) -> ClaimMapping:
    known = {one.name for one in fields(ClaimMapping)}
    unknown = sorted(entry.claims.keys() - known)
    if unknown:
        raise ValueError(f"claims: there is no {unknown[0]!r}, only {', '.join(sorted(known))}")
    mapping = replace(preset.mapping, **entry.claims)
    try:
        ClaimReader(mapping, {})
    except ValueError as error:
        raise ValueError(f"claims: {error}".removesuffix(".")) from None
    return mapping


def _workspaces(entry: IssuerEntry, mapping: ClaimMapping) -> tuple[ClaimMapping, frozenset[str] | None]:
    """Return for which workspaces the issuer may speak: said, never assumed, since it could name any other's."""
    if (entry.workspace is None) == (entry.workspaces is None):
        raise ValueError('workspace or workspaces: one of them must say whom the issuer may speak for; "*" is all')
    if entry.workspaces is not None:
        if mapping.workspace == NOTHING:
            raise ValueError("claims: workspace is missing, as this preset's tokens name none; or give `workspace`")
        return mapping, None if entry.workspaces == ("*",) else frozenset(entry.workspaces)
    if entry.workspace is None or not _SLUG.fullmatch(entry.workspace):
        raise ValueError("workspace: must be a workspace's slug")
    return replace(mapping, workspace=f"'{entry.workspace}'"), frozenset({entry.workspace})


def _role_map(given: Mapping[str, str] | None) -> Mapping[str, Role]:
    try:
        return dict(DEFAULT_ROLE_MAP) if given is None else role_map(given)
    except ValueError as error:
        raise ValueError(f"role_map: {error}") from None


def _group_lookup(given: _Lookup, preset: Preset) -> GroupLookup:
    parts = {
        "endpoint": given.endpoint or preset.group_endpoint,
        "token_endpoint": given.token_endpoint or preset.group_token_endpoint,
        "scope": given.scope or preset.group_scope,
    }
    for name, value in parts.items():
        if not value:
            raise ValueError(f"groups_overage.{name}: must be given")
    try:
        return GroupLookup(client_id=given.client_id, client_secret=_secret(given), **parts)  # type: ignore[arg-type]  # none is None
    except ValueError as error:
        raise ValueError(f"groups_overage: {error}".removesuffix(".")) from None


def _secret(given: _Lookup) -> str:
    if (given.client_secret is None) == (given.client_secret_file is None):
        raise ValueError("one of client_secret and client_secret_file must be given")
    if given.client_secret is not None:
        return given.client_secret.get_secret_value()
    try:
        return Path(given.client_secret_file or "").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise ValueError("client_secret_file cannot be read") from None
