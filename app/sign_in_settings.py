"""The settings of sign-in for browsers: none are needed where only tokens come in."""

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr

from creditdesk.app.setting_values import listed
from creditdesk.auth.browsers import Registration, SessionLifetimes
from creditdesk.auth.issuers import Credential, Issuer
from creditdesk.auth.keys import is_safe_url
from creditdesk.auth.origins import Origins, origin_of, origins
from creditdesk.auth.sealing import Sealer, key_from


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if not is_safe_url(value) or parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be an https address, or http on this machine, without a path")
    return origin_of(value)


def _each_an_origin(value: tuple[str, ...]) -> tuple[str, ...]:
    for origin in value:
        if _origin(origin) != origin:
            raise ValueError("must be origins as browsers write them, such as https://console.example.com")
    return value


def _keys(value: SecretStr) -> SecretStr:
    for text in value.get_secret_value().split(","):
        key_from(text)
    return value


def _parameters(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        entries = json.loads(value)
    except ValueError:
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(one, str) for one in entries.values()):
        raise ValueError("must be a JSON object of texts")
    return entries


class SignInSettings(BaseModel):
    """What `Settings` says of browsers."""

    public_url: Annotated[str, AfterValidator(_origin)] | None = Field(
        None, alias="CREDITDESK_PUBLIC_URL", description="The address that browsers know this server by"
    )
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(listed), AfterValidator(_each_an_origin)] = Field(
        (),
        alias="CREDITDESK_CORS_ORIGINS",
        description="Other origins whose pages may call, with their cookies too; separated by commas",
    )
    sign_in_client_id: str | None = Field(
        None,
        alias="CREDITDESK_SIGN_IN_CLIENT_ID",
        description="Sign-in for browsers: our name at the identity provider",
    )
    sign_in_client_secret: SecretStr | None = Field(
        None, alias="CREDITDESK_SIGN_IN_CLIENT_SECRET", description="Our secret there; unset for a public client"
    )
    sign_in_issuer: str | None = Field(
        None,
        alias="CREDITDESK_SIGN_IN_ISSUER",
        description="Which of several issuers browsers sign in at",
    )
    sign_in_scopes: str = Field(
        "openid profile email offline_access",
        alias="CREDITDESK_SIGN_IN_SCOPES",
        description="What is asked for; without `offline_access` most providers give no refresh token",
    )
    sign_in_parameters: Annotated[Mapping[str, str], BeforeValidator(_parameters)] = Field(
        {},
        alias="CREDITDESK_SIGN_IN_PARAMETERS",
        description="Added to each authorization request: a JSON object, such as of Auth0's `audience`",
    )
    session_keys: Annotated[SecretStr, AfterValidator(_keys)] | None = Field(
        None,
        alias="CREDITDESK_SESSION_KEYS",
        description="Keys of 32 bytes in base64, separated by commas: the first seals sessions' tokens, all open them",
    )
    session_idle_seconds: int = Field(
        3600, alias="CREDITDESK_SESSION_IDLE_SECONDS", ge=60, description="How long a session lasts without use"
    )
    session_seconds: int = Field(
        43200, alias="CREDITDESK_SESSION_SECONDS", ge=60, description="How long a session lasts at most"
    )
    session_renewal_seconds: int = Field(
        900, alias="CREDITDESK_SESSION_RENEWAL_SECONDS", ge=1, description="How long before a session's cookie changes"
    )

    @property
    def origins(self) -> Origins:
        """Whose pages may call."""
        return origins(public_url=self.public_url, allowed=self.cors_origins)

    @property
    def session_lifetimes(self) -> SessionLifetimes:
        """How long sessions last."""
        return SessionLifetimes(
            idle=timedelta(seconds=self.session_idle_seconds),
            longest=timedelta(seconds=self.session_seconds),
            secret=timedelta(seconds=self.session_renewal_seconds),
        )

    def sealer(self) -> Sealer:
        """Return what seals sessions' tokens; only where there are keys."""
        keys = self.session_keys.get_secret_value() if self.session_keys is not None else ""
        return Sealer([key_from(text) for text in keys.split(",")])

    def sign_in_problems(self) -> list[str]:
        """Return what is missing; nothing where browsers do not sign in."""
        if self.sign_in_client_id is None:
            return []
        needed = {"CREDITDESK_PUBLIC_URL": self.public_url, "CREDITDESK_SESSION_KEYS": self.session_keys}
        return [f"{name}: is not set, and browsers cannot sign in" for name, value in needed.items() if value is None]

    def registered_at(self, issuers: Collection[Issuer]) -> Registration | None:
        """Return what the only issuer knows us as, or the one that is named; raise ValueError where it is none."""
        if self.sign_in_client_id is None:
            return None
        named = [one for one in issuers if self.sign_in_issuer in (None, one.url, one.name)]
        if len(named) != 1:
            raise ValueError("must name one of the issuers whose tokens are accepted")
        [issuer] = named
        secret = self.sign_in_client_secret
        return Registration(
            issuer.url,
            self.sign_in_client_id,
            secret.get_secret_value() if secret is not None else None,
            scopes=self.sign_in_scopes,
            parameters=self.sign_in_parameters,
            algorithms=issuer.algorithms,
            leeway=issuer.leeway,
            presents_id_token=issuer.credential is Credential.ID_TOKEN,
        )
