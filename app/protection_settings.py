"""The settings of what documents may have, and of what callers may spend."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from creditdesk.app.setting_values import lower


class ProtectionSettings(BaseModel):
    """A part of the settings."""

    max_tokens: int = Field(
        1000, alias="CREDITDESK_MAX_TOKENS", ge=100, le=100_000, description="The most tokens of a document"
    )
    max_depth: int = Field(
        25, alias="CREDITDESK_MAX_DEPTH", ge=5, le=200, description="How deeply a document's fields may be nested"
    )
    max_aliases: int = Field(
        50, alias="CREDITDESK_MAX_ALIASES", ge=0, le=10_000, description="The most aliases of an operation"
    )
    max_cost: int = Field(
        500_000, alias="CREDITDESK_MAX_COST", ge=100, le=2**31 - 1, description="The most that an operation may cost"
    )
    cost_capacity: int = Field(
        1_000_000,
        alias="CREDITDESK_COST_CAPACITY",
        ge=100,
        le=2**31 - 1,
        description="What a caller may spend at once; at least `CREDITDESK_MAX_COST` counts",
    )
    cost_per_second: int = Field(
        20_000,
        alias="CREDITDESK_COST_PER_SECOND",
        ge=1,
        le=2**31 - 1,
        description="What a caller may spend in each second, in the long run",
    )
    request_timeout_seconds: int = Field(
        30, alias="CREDITDESK_REQUEST_TIMEOUT_SECONDS", ge=1, le=3600, description="The longest an operation may take"
    )
    introspection: Annotated[Literal["on", "off"], BeforeValidator(lower)] = Field(
        "on", alias="CREDITDESK_INTROSPECTION", description="`on`: whoever has a token may ask for the schema"
    )
