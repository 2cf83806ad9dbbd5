"""The floor of reading: each workload as one hand-written statement that returns JSON, behind a bare ASGI handler.

No GraphQL, no token, no limits, no row-level security: what the same server, pool and database cannot go below.
Statements read the rollups that answer with the fewest rows, and are planned as creditdesk's are.
"""

import os
from typing import Any

import orjson
import psycopg
from psycopg_pool import AsyncConnectionPool

_BUDGET = """'{{"limit":' || {limit} || ',"used":' || coalesce({balance}.used, 0) || ',"held":'
  || coalesce(held_now({balance}.held, extract(epoch FROM now())::bigint), 0) || '}}'"""

_USAGE = """'[' || coalesce((
  SELECT string_agg('{"product":"' || r.product || '","model":"' || r.model || '","credits":' || r.credits
    || ',"requests":' || r.requests || '}', ',' ORDER BY r.credits DESC, r.product, r.model)
  FROM (
    SELECT d.product, d.model, app_total(d.credits) AS credits, app_total(d.requests) AS requests
    FROM rollup_user_detail_day AS d
    WHERE d.workspace_id = $1 AND d.user_id = u.id AND d.day BETWEEN $2::date AND $3::date
    GROUP BY 1, 2
  ) AS r), '') || ']'"""

_EACH_USER_LIMIT = """coalesce(own.amount, member.amount, everybody.amount)"""

_LIMITS = """
  LEFT JOIN credit_limit AS own
    ON own.workspace_id = $1 AND own.scope = 'USER' AND own.scope_id = u.id AND own.kind = 'EACH_USER'
  LEFT JOIN LATERAL (
    SELECT max(l.amount) AS amount
    FROM group_member AS m
    JOIN credit_limit AS l
      ON l.workspace_id = $1 AND l.scope = 'GROUP' AND l.scope_id = m.group_id AND l.kind = 'EACH_USER'
    WHERE m.workspace_id = $1 AND m.user_id = u.id
  ) AS member ON true
  LEFT JOIN credit_limit AS everybody
    ON everybody.workspace_id = $1 AND everybody.scope = 'WORKSPACE' AND everybody.kind = 'EACH_USER'
  LEFT JOIN balance AS b
    ON b.workspace_id = $1 AND b.kind_id = (SELECT k.id FROM balance_kind AS k WHERE k.workspace_id = $1
      AND k.scope = 'USER' AND k.cadence = 'MONTH' AND k.product = '')
    AND b.scope_id = u.id AND b.first_day = date_trunc('month', $3::date)::date"""

_USER = (
    """'{"id":"' || u.id || '","name":' || to_json(u.display_name)::text || ',"budget":' || """
    + _BUDGET.format(limit=_EACH_USER_LIMIT, balance="b")
    + """ || ',"usage":' || """
    + _USAGE
    + """ || '}'"""
)

NESTED = """
WITH asked AS MATERIALIZED (
  SELECT id, name, sort_name FROM user_group WHERE workspace_id = $1 ORDER BY sort_name, id LIMIT $4::integer
),
listed AS MATERIALIZED (
  SELECT group_id, id, display_name, sort_name
  FROM (
    SELECT m.group_id, u.id, u.display_name, u.sort_name,
      row_number() OVER (PARTITION BY m.group_id ORDER BY u.sort_name, u.id) AS place
    FROM asked AS g
    JOIN group_member AS m ON m.workspace_id = $1 AND m.group_id = g.id
    JOIN app_user AS u ON u.workspace_id = $1 AND u.id = m.user_id
  ) AS m
  WHERE place <= $5::integer
),
used AS MATERIALIZED (
  SELECT r.user_id,
    string_agg('{"product":"' || r.product || '","model":"' || r.model || '","credits":' || r.credits
      || ',"requests":' || r.requests || '}', ',' ORDER BY r.credits DESC, r.product, r.model) AS rows
  FROM (
    SELECT d.user_id, d.product, d.model, app_total(d.credits) AS credits, app_total(d.requests) AS requests
    FROM rollup_user_detail_day AS d
    WHERE d.workspace_id = $1
      AND d.user_id = ANY (ARRAY(SELECT id FROM listed))
      AND d.day BETWEEN $2::date AND $3::date
    GROUP BY 1, 2, 3
  ) AS r
  GROUP BY 1
),
everybody AS MATERIALIZED (
  SELECT max(l.amount) AS amount
  FROM credit_limit AS l
  WHERE l.workspace_id = $1 AND l.scope = 'WORKSPACE' AND l.kind = 'EACH_USER'
),
each_member AS MATERIALIZED (
  SELECT m.user_id, max(l.amount) AS amount
  FROM credit_limit AS l
  JOIN group_member AS m ON m.workspace_id = $1 AND m.group_id = l.scope_id
  WHERE l.workspace_id = $1 AND l.scope = 'GROUP' AND l.kind = 'EACH_USER'
    AND m.user_id = ANY (ARRAY(SELECT id FROM listed))
  GROUP BY 1
),
kept AS MATERIALIZED (
  SELECT b.scope_id, b.used, held_now(b.held, extract(epoch FROM now())::bigint) AS held
  FROM balance AS b
  WHERE b.workspace_id = $1
    AND b.kind_id = (SELECT k.id FROM balance_kind AS k WHERE k.workspace_id = $1
      AND k.scope = 'USER' AND k.cadence = 'MONTH' AND k.product = '')
    AND b.scope_id = ANY (ARRAY(SELECT id FROM listed))
    AND b.first_day = date_trunc('month', $3::date)::date
),
own AS MATERIALIZED (
  SELECT l.scope_id, l.amount
  FROM credit_limit AS l
  WHERE l.workspace_id = $1 AND l.scope = 'USER' AND l.kind = 'EACH_USER'
    AND l.scope_id = ANY (ARRAY(SELECT id FROM listed))
),
people AS MATERIALIZED (
  SELECT u.group_id,
    string_agg('{"id":"' || u.id || '","name":' || to_json(u.display_name)::text || ',"budget":{"limit":'
      || coalesce(own.amount, each_member.amount, everybody.amount) || ',"used":' || coalesce(kept.used, 0)
      || ',"held":' || coalesce(kept.held, 0) || '},"usage":[' || coalesce(used.rows, '') || ']}', ','
      ORDER BY u.sort_name, u.id) AS rows
  FROM listed AS u
  CROSS JOIN everybody
  LEFT JOIN own ON own.scope_id = u.id
  LEFT JOIN each_member ON each_member.user_id = u.id
  LEFT JOIN kept ON kept.scope_id = u.id
  LEFT JOIN used ON used.user_id = u.id
  GROUP BY 1
)
SELECT '[' || coalesce(string_agg('{"id":"' || g.id || '","name":' || to_json(g.name)::text || ',"budget":{"limit":'
  || pool.amount || ',"used":' || coalesce(b.used, 0) || ',"held":'
  || coalesce(held_now(b.held, extract(epoch FROM now())::bigint), 0) || '},"members":[' || coalesce(people.rows, '')
  || ']}', ',' ORDER BY g.sort_name, g.id), '') || ']'
FROM asked AS g
LEFT JOIN people ON people.group_id = g.id
LEFT JOIN credit_limit AS pool
  ON pool.workspace_id = $1 AND pool.scope = 'GROUP' AND pool.scope_id = g.id AND pool.kind = 'SHARED'
LEFT JOIN balance AS b
  ON b.workspace_id = $1 AND b.kind_id = (SELECT k.id FROM balance_kind AS k WHERE k.workspace_id = $1
    AND k.scope = 'GROUP' AND k.cadence = 'MONTH' AND k.product = '')
  AND b.scope_id = g.id AND b.first_day = date_trunc('month', $3::date)::date
"""
"""Set by set: each table is gone through once for all who are listed, who are named in an array."""

OWN = f"""
SELECT {_USER}
FROM app_user AS u
{_LIMITS}
WHERE u.workspace_id = $1 AND u.id = $4
"""

_TREND = """
SELECT '{{"series":[' || (
    SELECT string_agg('{{"day":"' || day || '","product":"' || product || '","credits":' || credits || '}}', ','
      ORDER BY day, product)
    FROM (
      SELECT day, product, app_total(credits) AS credits
      FROM {days}
      WHERE workspace_id = $1 AND day BETWEEN $2::date AND $3::date
      GROUP BY 1, 2
    ) AS r
  ) || '],"top":[' || (
    SELECT string_agg('{{"id":"' || u.id || '","name":' || to_json(u.display_name)::text || ',"credits":' || t.credits
      || '}}', ',' ORDER BY t.credits DESC, t.user_id)
    FROM (
      SELECT user_id, app_total(credits) AS credits
      FROM ({users}) AS r
      GROUP BY 1
      ORDER BY 2 DESC, 1
      LIMIT $4::integer
    ) AS t
    JOIN app_user AS u ON u.workspace_id = $1 AND u.id = t.user_id
  ) || ']}}'
"""

TREND = _TREND.format(
    days="rollup_workspace_day",
    users="""
        SELECT user_id, credits
        FROM rollup_user_month
        WHERE workspace_id = $1 AND month >= $5::date AND month < $6::date
        UNION ALL
        SELECT d.user_id, s.sign * d.credits
        FROM unnest($7::date[], $8::date[], $9::bigint[]) AS s(first_day, last_day, sign)
        CROSS JOIN LATERAL (
          SELECT user_id, credits
          FROM rollup_user_day
          WHERE workspace_id = $1 AND day BETWEEN s.first_day AND s.last_day
          OFFSET 0
        ) AS d""",
)

TREND_OF_DAYS = _TREND.format(
    days="rollup_user_detail_day",
    users="SELECT user_id, credits FROM rollup_user_day WHERE workspace_id = $1 AND day BETWEEN $2::date AND $3::date",
)
"""The same where there is only a daily rollup by user."""

PEOPLE = """
WITH month AS MATERIALIZED (
  SELECT user_id, app_total(credits) AS credits
  FROM rollup_user_month
  WHERE workspace_id = $1 AND month = date_trunc('month', $2::date)::date
  GROUP BY 1
),
most AS MATERIALIZED (
  SELECT user_id, credits
  FROM month
  WHERE credits > 0
    AND credits >= coalesce((SELECT credits FROM month ORDER BY credits DESC LIMIT 1 OFFSET $3::integer + 49), 0)
)
SELECT '{"total":' || (SELECT count(*) FROM app_user WHERE workspace_id = $1) || ',"people":['
  || (SELECT string_agg('{"id":"' || p.id || '","name":' || to_json(p.display_name)::text || '}', ','
        ORDER BY p.credits DESC, p.sort_name, p.id)
      FROM (
        SELECT u.id, u.display_name, u.sort_name, most.credits
        FROM most
        JOIN app_user AS u ON u.workspace_id = $1 AND u.id = most.user_id
        UNION ALL
        SELECT u.id, u.display_name, u.sort_name, coalesce(month.credits, 0)
        FROM app_user AS u
        LEFT JOIN month ON month.user_id = u.id
        WHERE u.workspace_id = $1
          AND coalesce(month.credits, 0) <= 0
          AND (SELECT count(*) FROM most) < $3::integer + 50
        ORDER BY 4 DESC, 3, 1
        LIMIT 50 OFFSET $3::integer
      ) AS p) || ']}'
"""

STATEMENTS = {
    "/nested": NESTED,
    "/own": OWN,
    "/trend": TREND,
    "/trend-of-days": TREND_OF_DAYS,
    "/people": PEOPLE,
}


class Floor:
    """The whole server."""

    def __init__(self, dsn: str) -> None:
        self._pool = AsyncConnectionPool(
            dsn, min_size=1, max_size=10, open=False, kwargs={"autocommit": True, "prepare_threshold": 0}
        )

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request: its body is a JSON list of the statement's parameters."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        async with self._pool.connection() as connection:
            cursor = psycopg.AsyncRawCursor(connection)
            await cursor.execute(STATEMENTS[scope["path"]].encode(), orjson.loads(body))
            row = await cursor.fetchone()
        answer = row[0].encode() if row else b"null"
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._pool.open()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._pool.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def app() -> Floor:
    """Return the server of the database that the environment names."""
    return Floor(os.environ["DATABASE_URL"])
