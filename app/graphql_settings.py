"""What can be configured of the graph's endpoint."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from creditdesk.app.setting_values import lower

_Lower = BeforeValidator(lower)


class GraphQLSettings(BaseModel):
    """What `Settings` says of GraphQL."""

    documents: Annotated[Literal["any", "integrations", "trusted"], _Lower] = Field(
        "any",
        alias="CREDITDESK_DOCUMENTS",
        description="Whose own GraphQL documents are executed: `any`, only those of `integrations` (programs), or only"
        " `trusted` ones, which come along or are in CREDITDESK_DOCUMENTS_FILE",
    )
    documents_file: Path | None = Field(
        None,
        alias="CREDITDESK_DOCUMENTS_FILE",
        description="A JSON object from ids to documents that are trusted, as code generators of clients write it",
    )
    executor: Annotated[Literal["planned", "stock"], _Lower] = Field(
        "planned",
        alias="CREDITDESK_EXECUTOR",
        description="`planned` follows compiled plans where documents come again; `stock` leaves it to graphql-core",
    )
    kept_usage_mb: int = Field(
        16,
        alias="CREDITDESK_KEPT_USAGE_MB",
        ge=0,
        le=4096,
        description="Megabytes of each worker for what users used as it was read last, so that those alone are read"
        " anew who have used something since; 0 keeps nothing",
    )
    max_subscriptions: int = Field(
        200, alias="CREDITDESK_MAX_SUBSCRIPTIONS", ge=1, description="Subscriptions that one caller may have open"
    )
    graphiql: Annotated[Literal["off", "on"], _Lower] = Field(
        "off", alias="CREDITDESK_GRAPHIQL", description="`on`: a page at /graphiql to try documents; the demo has it"
    )
