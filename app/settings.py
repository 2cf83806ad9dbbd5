"""What can be configured: the only reader of the environment."""

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from creditdesk.app.failures import CommandFailed
from creditdesk.auth.claims import DEFAULT_ROLE_MAP, ClaimMapping, ClaimReader
from creditdesk.auth.keys import is_safe_url
from creditdesk.auth.roles import Role
from creditdesk.auth.tokens import ASYMMETRIC, Issuer

_PREFIX = "CREDITDESK_"


class SettingsError(CommandFailed):
    """An environment variable is missing, unknown or off; the sentence names it, and never a secret's value."""

    exit_code = 2


def _postgresql_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        url = ""
    if not url.startswith(("postgresql://", "postgres://")):
        # Nothing of the value, and no `from`: libpq's own message quotes it.
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/database") from None
    return value


def _safe_issuer(value: str) -> str:
    if not is_safe_url(value):
        raise ValueError("must be an https address, or http on this machine")
    return value


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _asymmetric(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not ASYMMETRIC.issuperset(value):
        raise ValueError(f"must be among {', '.join(sorted(ASYMMETRIC))}")
    return value


def _role_map(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        entries = json.loads(value)
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not all(str(name) in Role.__members__ for name in entries.values()):
        raise ValueError(f"must be a JSON object from the identity provider's roles to {', '.join(Role.__members__)}")
    return {theirs: Role[name] for theirs, name in entries.items()}


def _claim(name: str, description: str) -> Any:
    return Field(
        default=getattr(ClaimMapping(), name),
        alias=f"{_PREFIX}CLAIM_{name.upper()}",
        description=f"{description} (JMESPath into the token's claims)",
    )


_DatabaseUrl = Annotated[SecretStr, AfterValidator(_postgresql_url)]
_List = Annotated[tuple[str, ...], BeforeValidator(_listed)]
_Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
_Lower = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
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
    workers: int = Field(1, alias="CREDITDESK_WORKERS", ge=1, le=128, description="Processes that answer requests")
    oidc_issuer: Annotated[str, AfterValidator(_safe_issuer)] | None = Field(
        None, alias="CREDITDESK_OIDC_ISSUER", description="The identity provider, exactly as its tokens' `iss` says"
    )
    oidc_audience: _List = Field(
        (), alias="CREDITDESK_OIDC_AUDIENCE", description="What a token's `aud` must name one of; separated by commas"
    )
    oidc_algorithms: Annotated[_List, AfterValidator(_asymmetric)] = Field(
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
    claim_managed_groups: str = _claim("managed_groups", "The slugs of the groups that a group manager manages")
    claim_service: str = _claim("service", "True for a program")
    role_map: Annotated[Mapping[str, Role], BeforeValidator(_role_map)] = Field(
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
        return ClaimMapping(
            subject=self.claim_subject,
            workspace=self.claim_workspace,
            roles=self.claim_roles,
            scopes=self.claim_scopes,
            managed_groups=self.claim_managed_groups,
            service=self.claim_service,
        )

    def issuer(self) -> Issuer:
        """Return whose tokens are accepted, or raise SettingsError: nobody could sign in."""
        if self.oidc_issuer is None:
            raise SettingsError("CREDITDESK_OIDC_ISSUER: is not set, so nobody could sign in.")
        if not self.oidc_audience:
            raise SettingsError("CREDITDESK_OIDC_AUDIENCE: is not set, so tokens for anybody would be accepted.")
        return Issuer(
            self.oidc_issuer,
            frozenset(self.oidc_audience),
            frozenset(self.oidc_algorithms),
            leeway=self.oidc_leeway_seconds,
        )


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
            return json.dumps({theirs: role.name for theirs, role in value.items()})
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
    problems += [] if settings is None else _claim_problems(settings)
    if settings is None or problems:
        raise SettingsError("; ".join(problems) + ".") from None
    return settings


def _unknown(variable: str) -> str:
    close = difflib.get_close_matches(variable, _VARIABLES, n=1)
    return f"{variable}: there is no such setting" + (f" (did you mean {close[0]}?)" if close else "")


def _claim_problems(settings: Settings) -> list[str]:
    problems = []
    for name in ("subject", "workspace", "roles", "scopes", "managed_groups", "service"):
        expression = getattr(settings.claims, name)
        try:
            ClaimReader(ClaimMapping(**{name: expression}), {})
        except ValueError:
            problems.append(f"{_PREFIX}CLAIM_{name.upper()}: is not a JMESPath expression: {expression!r}")
    return problems


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
