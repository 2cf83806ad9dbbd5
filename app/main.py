"""Builds the ASGI app from settings: the only module that sees everything, and imported by nobody."""

import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from creditdesk.app.browsers import browsers_from_settings
from creditdesk.app.costs import PATH as COSTS
from creditdesk.app.costs import CostsEndpoint
from creditdesk.app.cross_origin import CrossOrigin
from creditdesk.app.documents import stored_documents
from creditdesk.app.graphiql import graphiql_routes
from creditdesk.app.health import Readiness, healthz
from creditdesk.app.holds import PATH, HoldsEndpoint
from creditdesk.app.logs import configure_logs
from creditdesk.app.metrics import CONTENT_TYPE, Metrics
from creditdesk.app.middleware import RequestMiddleware, Requests, Shortcuts, error_response
from creditdesk.app.protection import charging, document_limits
from creditdesk.app.settings import Settings, SettingsError, load_settings, shared_metrics_directory
from creditdesk.app.straight import STATE, StraightWays, Way
from creditdesk.app.upkeep import kept_up
from creditdesk.auth.access_log import AccessLog
from creditdesk.auth.authenticate import Authenticator
from creditdesk.auth.browsers import SessionLifetimes
from creditdesk.auth.origins import Origins
from creditdesk.auth.tokens import TokenVerifier
from creditdesk.credits.errors import ErrorCode
from creditdesk.credits.hold_desk import HoldDesk
from creditdesk.credits.kept_usage import KeptUsage
from creditdesk.db.connections import Database
from creditdesk.db.readiness import check_schema, pool_use
from creditdesk.graphql.answering import Answering
from creditdesk.graphql.batched_reads import BATCHES
from creditdesk.graphql.endpoint import GraphQLEndpoint
from creditdesk.graphql.event_stream import EventStreams
from creditdesk.graphql.execution.executor import PlannedExecutor
from creditdesk.graphql.live import Live
from creditdesk.graphql.prepared import Documents
from creditdesk.graphql.schema import core_schema, schema
from creditdesk.graphql.streams import Streams
from creditdesk.graphql.subscribers import Subscribers
from creditdesk.graphql.websocket import WebSocketEndpoint

GRAPH = "/graphql"
_NO_ORIGINS = Origins()
_NO_WAYS: Mapping[str, Way] = {}
_SESSION_IDLE = SessionLifetimes().idle


def create_app(
    *,
    database: Database,
    verifier: TokenVerifier,
    http: httpx.AsyncClient,
    graphql_endpoint: ASGIApp,
    holds_endpoint: ASGIApp,
    metrics: Metrics,
    ways: Mapping[str, Way] = _NO_WAYS,
    routes: Sequence[Route] = (),
    origins: Origins = _NO_ORIGINS,
    session_idle: timedelta = _SESSION_IDLE,
    websockets: WebSocketEndpoint | None = None,
    access_log: AccessLog | None = None,
) -> Starlette:
    """Return the app around its two endpoints, and `ways` straight to them.

    Its lifespan opens the pool, and closes it and the HTTP client.
    """

    async def metrics_page(_: Request) -> Response:
        metrics.note_pool(pool_use(database))
        return Response(metrics.page(), headers={"content-type": CONTENT_TYPE})

    feed = websockets.streams.live.feed if websockets is not None else None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
        async with http:
            await database.open()
            try:
                watching = feed.running() if feed else nullcontext()
                noting = access_log.running() if access_log else nullcontext()
                async with kept_up(database, metrics, session_idle=session_idle), watching, noting:
                    yield {STATE: straight}
            finally:
                await database.close()

    requests = Requests(count=metrics.count_request)
    straight = StraightWays(ways, requests, varies=b"Origin" if origins.allowed else None)
    readiness = Readiness(
        {"database": database.check, "migrations": lambda: check_schema(database)},
        issuers={f"issuer {name}".rstrip(): check for name, check in verifier.checks.items()},
    )
    database.observers.append(metrics.count_statement)
    if websockets is not None:
        websockets.streams.subscribers.observers.append(metrics.note_open)
    app = _Application(
        routes=[
            *routes,
            *([WebSocketRoute(GRAPH, websockets)] if websockets else []),
            Route("/healthz", healthz),
            Route("/readyz", readiness.readyz),
            Route("/metrics", metrics_page),
        ],
        middleware=[
            Middleware(RequestMiddleware, requests=requests),
            *([Middleware(CrossOrigin, origins=origins)] if origins.allowed else []),
            Middleware(Shortcuts, paths={GRAPH: graphql_endpoint, PATH: holds_endpoint}, trees=[PATH]),
        ],
        exception_handlers={HTTPException: _outside_of_graphql},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Application(Starlette):
    """Starlette without its outermost layer: errors that nobody expected end in `RequestMiddleware`, with their id."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers requests."""
        stack = super().build_middleware_stack()
        assert isinstance(stack, ServerErrorMiddleware)  # noqa: S101 - for mypy, and for another version of Starlette
        return stack.app


async def _outside_of_graphql(_: Request, error: Exception) -> Response:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    message = {
        404: "There is nothing at this path: the API is at /graphql, holds are at /v1/holds.",
        405: "This path does not answer that method.",
    }.get(status, "The request is off.")
    return error_response(status, ErrorCode.MALFORMED_REQUEST, message, dict(headers or {}))


def app_from_settings(settings: Settings) -> Starlette:
    """Return the whole app."""
    if settings.database_url is None:
        raise SettingsError("DATABASE_URL: is not set; `creditdesk serve` would bring a database of its own.")
    database = Database(
        settings.database_url.get_secret_value(),
        max_connections=settings.max_connections,
        statement_timeout_seconds=settings.statement_timeout_seconds,
    )
    http = httpx.AsyncClient()
    verifier = TokenVerifier(settings.issuers(), http)
    access_log = AccessLog(database)
    authenticator = Authenticator(verifier=verifier, database=database, access_log=access_log)
    desk = HoldDesk(database, lambda: datetime.now(UTC))
    browsers = browsers_from_settings(settings, database=database, authenticator=authenticator)
    live = Live.over(database, lambda: datetime.now(UTC))
    documents = Documents(core_schema(), document_limits(settings))
    metrics = Metrics(shared=shared_metrics_directory())
    planned = settings.executor == "planned"
    plans = PlannedExecutor(schema, BATCHES, note=metrics.count_execution) if planned else None
    stored = stored_documents(settings, documents)
    answering = Answering(
        documents,
        charging=charging(settings),
        stored=stored,
        plans=plans,
        seconds=settings.request_timeout_seconds,
        denied=access_log.denied,
    )
    subscribers = Subscribers(most_per_caller=settings.max_subscriptions)
    streams = Streams(database=database, desk=desk, answering=answering, live=live, subscribers=subscribers)
    endpoint = GraphQLEndpoint(
        database=database,
        desk=desk,
        callers=browsers.callers,
        answering=answering,
        max_body_bytes=settings.max_body_bytes,
        events=EventStreams(callers=browsers.callers, streams=streams),
        kept_usage=KeptUsage(most_bytes=settings.kept_usage_mb * 1024 * 1024),
    )
    holds = HoldsEndpoint(
        desk=desk, authenticator=authenticator, max_body_bytes=settings.max_body_bytes, denied=access_log.denied
    )
    costs = CostsEndpoint(database=database, authenticator=authenticator, denied=access_log.denied)
    return create_app(
        database=database,
        access_log=access_log,
        verifier=verifier,
        http=http,
        graphql_endpoint=endpoint,
        holds_endpoint=holds,
        ways={PATH: holds.begin, GRAPH: endpoint.begin},
        routes=[
            *browsers.routes,
            Route(COSTS, costs.answer),
            *(graphiql_routes() if settings.graphiql == "on" else ()),
        ],
        origins=settings.origins,
        session_idle=settings.session_lifetimes.idle,
        metrics=metrics,
        websockets=WebSocketEndpoint(callers=browsers.callers, streams=streams),
    )


def app_from_environment() -> Starlette:
    """Return the app of the environment's settings: the factory that uvicorn's workers call."""
    settings = load_settings()
    configure_logs(level=settings.log_level, form=settings.log_format)
    app = app_from_settings(settings)
    _spare_what_stays()
    return app


def _spare_what_stays() -> None:
    """Have the collector look for cycles among what requests leave behind, more seldom, and not in all that stays.

    Requests of the same moment are many small objects, nearly all of which go by themselves: looking for cycles after
    every 700 of them took a tenth of the time of a busy server.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
