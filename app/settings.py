"""What can be configured: the only reader of the environment."""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from creditdesk.app.failures import CommandFailed
from creditdesk.app.graphql_settings import GraphQLSettings
from creditdesk.app.issuer_settings import read_issuers
from creditdesk.app.protection_settings import ProtectionSettings
from creditdesk.app.setting_values import asymmetric, issuer_url, json_role_map, listed, lower, postgresql_url
from creditdesk.app.sign_in_settings import SignInSettings
from creditdesk.auth.browsers import Registration
from creditdesk.auth.claims import DEFAULT_ROLE_MAP, ClaimMapping, ClaimReader
from creditdesk.auth.issuers import Issuer
from creditdesk.auth.roles import Role

_PREFIX = "CREDITDESK_"


class SettingsError(CommandFailed):
    """An environment variable is missing, unknown or off; the sentence names it, and never a secret's value."""

    exit_code = 2


def _claim(name: str, description: str) -> Any:
    return Field(
        default=getattr(ClaimMapping(), name),
        alias=f"{_PREFIX}CLAIM_{name.upper()}",
        description=f"{description} (JMESPath into the token's claims)",
    )


_DatabaseUrl = Annotated[SecretStr, AfterValidator(postgresql_url)]
_List = Annotated[tuple[str, ...], BeforeValidator(listed)]
_Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
_Lower = BeforeValidator(lower)


class Settings(SignInSettings, GraphQLSettings, ProtectionSettings, BaseSettings):
    """Every setting, checked; each field knows its variable, its default and its sentence."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True, validate_default=False
    )

    database_url: _DatabaseUrl | None = Field(
        None,
        alias="DATABASE_URL",
        description="PostgreSQL, as the role `creditdesk_server`; unset: an embedded one in the data directory",
    )
    owner_database_url: _DatabaseUrl | None = Field(
        None,
        alias="CREDITDESK_OWNER_DATABASE_URL",
        description="The same database as the role that owns the tables, for `creditdesk migrate`",
    )
    data_directory: Path = Field(
        Path(".creditdesk"), alias="CREDITDESK_DATA_DIRECTORY", description="Where the embedded PostgreSQL lives"
    )
    host: str = Field("127.0.0.1", alias="CREDITDESK_HOST", min_length=1, description="The address to listen on")
    port: int = Field(8000, alias="CREDITDESK_PORT", ge=0, le=65535, description="The port; 0 takes a free one")
    workers: int = Field(
        1,
        alias="CREDITDESK_WORKERS",
        ge=1,
        le=128,
        description="Processes that answer requests; on Linux each listens by itself",
    )
    issuers_json: SecretStr | None = Field(
        None,
        alias="CREDITDESK_ISSUERS",
        description="Several identity providers: a JSON object, or the path of a file that holds it; "
        "instead of the settings of one, which follow",
    )
    oidc_issuer: Annotated[str, AfterValidator(issuer_url)] | None = Field(
        None, alias="CREDITDESK_OIDC_ISSUER", description="The identity provider, exactly as its tokens' `iss` says"
    )
    oidc_audience: _List = Field(
        (), alias="CREDITDESK_OIDC_AUDIENCE", description="What a token's `aud` must name one of; separated by commas"
    )
    oidc_algorithms: Annotated[_List, AfterValidator(asymmetric)] = Field(
        ("RS256", "ES256"),
        alias="CREDITDESK_OIDC_ALGORITHMS",
        description="The signatures accepted, separated by commas; asymmetric ones only",
    )
    oidc_leeway_seconds: int = Field(
        60, alias="CREDITDESK_OIDC_LEEWAY_SECONDS", ge=0, le=600, description="How far the issuer's clock may be off"
    )
    claim_subject: str = _claim("subject", "Who the bearer is")
    claim_workspace: str = _claim("workspace", "The workspace's slug")
    claim_roles: str = _claim("roles", "The bearer's roles, in the identity provider's words")
    claim_scopes: str = _claim("scopes", "What a service may do")
    claim_groups: str = _claim("groups", "The slugs of the groups that the bearer is in")
    claim_managed_groups: str = _claim("managed_groups", "The slugs of the groups that a group manager manages")
    claim_service: str = _claim("service", "True for a program")
    claim_email: str = _claim("email", "The bearer's e-mail address")
    claim_email_verified: str = _claim("email_verified", "True if the address is known to be the bearer's")
    claim_name: str = _claim("name", "The bearer's name, for people")
    role_map: Annotated[Mapping[str, Role], BeforeValidator(json_role_map)] = Field(
        dict(DEFAULT_ROLE_MAP),
        alias="CREDITDESK_ROLE_MAP",
        description="A JSON object from the identity provider's roles to ours; any other role gives nothing",
    )
    max_connections: int = Field(
        10, alias="CREDITDESK_MAX_CONNECTIONS", ge=1, le=1000, description="Database connections of each worker"
    )
    statement_timeout_seconds: int = Field(
        15, alias="CREDITDESK_STATEMENT_TIMEOUT_SECONDS", ge=1, le=3600, description="The longest a statement may run"
    )
    max_body_bytes: int = Field(
        4194304, alias="CREDITDESK_MAX_BODY_BYTES", ge=1024, description="The largest request body accepted"
    )
    shutdown_seconds: int = Field(
        10, alias="CREDITDESK_SHUTDOWN_SECONDS", ge=1, le=3600, description="How long running requests may still take"
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], _Upper] = Field(
        "INFO", alias="CREDITDESK_LOG_LEVEL", description="DEBUG, INFO, WARNING, ERROR or CRITICAL"
    )
    log_format: Annotated[Literal["json", "text"], _Lower] = Field(
        "json", alias="CREDITDESK_LOG_FORMAT", description="`json`, a line for each record, or `text`"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature, here and below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load_settings` hands in and nothing else, so that tests and the demo have no hidden input."""
        return (init_settings,)

    @property
    def claims(self) -> ClaimMapping:
        """Where a token says what."""
        return ClaimMapping(**{one.name: getattr(self, f"claim_{one.name}") for one in fields(ClaimMapping)})

    def issuers(self) -> tuple[Issuer, ...]:
        """Return whose tokens are accepted, or raise SettingsError: nobody could sign in."""
        if self.issuers_json is not None:
            try:
                return read_issuers(self.issuers_json.get_secret_value())
            except ValueError as error:
                raise SettingsError(f"CREDITDESK_ISSUERS: {error}.") from None
        if self.oidc_issuer is None:
            raise SettingsError("CREDITDESK_OIDC_ISSUER: is not set, nor is CREDITDESK_ISSUERS: nobody could sign in.")
        if not self.oidc_audience:
            raise SettingsError("CREDITDESK_OIDC_AUDIENCE: is not set, so tokens for anybody would be accepted.")
        # The only issuer may speak for every workspace: nobody else says who is who.
        return (
            Issuer(
                self.oidc_issuer,
                frozenset(self.oidc_audience),
                frozenset(self.oidc_algorithms),
                leeway=self.oidc_leeway_seconds,
                mapping=self.claims,
                role_map=self.role_map,
            ),
        )

    def registration(self) -> Registration | None:
        """Return what the identity provider knows us as, or None where browsers do not sign in."""
        try:
            return self.registered_at(self.issuers())
        except ValueError as error:
            raise SettingsError(f"CREDITDESK_SIGN_IN_ISSUER: {error}.") from None


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the README's table; a default of None means unset."""

    variable: str
    default: str | None
    description: str


def _text(value: object) -> str | None:
    """Return the value as the variable would be written: the inverse of reading it."""
    match value:
        case None | ():
            return None
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return ",".join(value)
        case dict():
            written = {key: one.name if isinstance(one, Role) else one for key, one in value.items()}
            return json.dumps(written) if written else None
        case _:
            return str(value)


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(str(field.alias), _text(field.default), str(field.description)) for field in Settings.model_fields.values()
)
_VARIABLES = tuple(setting.variable for setting in SETTINGS)


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings, or raise SettingsError naming each variable that is off; an empty one counts as unset."""
    given = {name: value for name, value in (os.environ if environ is None else environ).items() if value.strip()}
    problems = [_unknown(name) for name in sorted(given) if name.startswith(_PREFIX) and name not in _VARIABLES]
    settings = None
    try:
        settings = Settings(**{name: given[name] for name in _VARIABLES if name in given})  # type: ignore[arg-type]
    except ValidationError as error:
        # The message only: pydantic's own text would quote the value.
        problems += [f"{off['loc'][0]}: {off['msg'].removeprefix('Value error, ')}" for off in error.errors()]
    if settings is not None:
        problems += [*_claim_problems(settings), *_issuers_problems(settings), *settings.sign_in_problems()]
    if settings is None or problems:
        raise SettingsError("; ".join(problems) + ".") from None
    return settings


def _unknown(variable: str) -> str:
    close = difflib.get_close_matches(variable, _VARIABLES, n=1)
    return f"{variable}: there is no such setting" + (f" (did you mean {close[0]}?)" if close else "")


def _claim_problems(settings: Settings) -> list[str]:
    problems = []
    for one in fields(ClaimMapping):
        expression = getattr(settings.claims, one.name)
        try:
            ClaimReader(ClaimMapping(**{one.name: expression}), {})
        except ValueError:
            problems.append(f"{_PREFIX}CLAIM_{one.name.upper()}: is not a JMESPath expression: {expression!r}")
    return problems


def _issuers_problems(settings: Settings) -> list[str]:
    if settings.issuers_json is None:
        return []
    # One way at a time: a setting that seems to count and does not is worse than one that is refused.
    single = [
        field.alias
        for name, field in Settings.model_fields.items()
        if name.startswith(("oidc_", "claim_", "role_map")) and getattr(settings, name) != field.default
    ]
    if single:
        return [f"CREDITDESK_ISSUERS: is set beside {single[0]}, which is for a single issuer: say it in the entry"]
    try:
        settings.issuers()
    except SettingsError as error:
        return [str(error).removesuffix(".")]
    return []


@contextmanager
def handed_down(settings: Settings, **more: str) -> Iterator[None]:
    """Put the settings into the environment while workers are started, which read them from there."""
    fields = Settings.model_fields
    written = {str(fields[name].alias): _text(value) for name, value in settings if name in fields}
    before = dict(os.environ)
    for name in _VARIABLES:
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in (written | more).items() if value is not None})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def shared_metrics_directory() -> Path | None:
    """Return where the workers of one server share their metrics, if there are several; `serve` makes it."""
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(directory) if directory else None


def forget_libpq_variables() -> None:
    """Drop what would lead connections to the embedded server astray: a DSN cannot override PGSERVICE or PGOPTIONS."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
