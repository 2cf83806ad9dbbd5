-- fragment: usage_asked
-- The cells that are asked for and may be read. A cell is what a figure is of: any of a user, a charged group, a product
-- and a model, or the people who are in a group now. One permitted part is enough, since the parts narrow each other.
asked AS MATERIALIZED (
  SELECT k.*
  FROM unnest(
    %(cell_users)s::uuid[], %(cell_groups)s::uuid[], %(cell_products)s::text[], %(cell_models)s::text[],
    %(cell_members_of)s::uuid[]
  ) WITH ORDINALITY AS k(user_id, group_id, product, model, members_of, nth)
  WHERE %(everyone)s::boolean
    OR %(on_user)s::boolean AND k.user_id = %(own_user)s::uuid
    OR %(on_group)s::boolean AND k.group_id = ANY (%(managed_groups)s::uuid[])
    OR %(on_members)s::boolean AND k.members_of = ANY (%(managed_groups)s::uuid[])
    OR %(on_user)s::boolean AND EXISTS (
      SELECT
      FROM group_member AS m
      WHERE m.workspace_id = %(workspace_id)s::uuid
        AND m.user_id = k.user_id
        AND m.group_id = ANY (%(managed_groups)s::uuid[])
    )
)

-- fragment: usage_filter
-- What every slice is narrowed by.
AND (%(users)s::uuid[] IS NULL OR r.user_id = ANY (%(users)s::uuid[]))
AND (%(groups)s::uuid[] IS NULL OR r.group_id = ANY (%(groups)s::uuid[]))
AND (%(products)s::text[] IS NULL OR r.product = ANY (%(products)s::text[]))
AND (%(models)s::text[] IS NULL OR r.model = ANY (%(models)s::text[]))

-- fragment: usage_cell
-- How a row finds its cell: equalities that can be hashed, where a part that the cells do not have is empty on both sides.
CASE WHEN %(on_user)s::boolean THEN r.user_id ELSE '00000000-0000-0000-0000-000000000000' END = k.user_id
AND CASE WHEN %(on_group)s::boolean THEN r.group_id ELSE '00000000-0000-0000-0000-000000000000' END = k.group_id
AND CASE WHEN %(on_product)s::boolean THEN r.product ELSE '' END = k.product
AND CASE WHEN %(on_model)s::boolean THEN r.model ELSE '' END = k.model

-- fragment: usage_days_of_users
-- Whole days of cells that name their user: the commonest read, on its own so that its plan is kept.
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM asked AS k
JOIN rollup_user_detail_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.user_id = k.user_id
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
WHERE (NOT %(on_group)s::boolean OR r.group_id = k.group_id)
  AND (NOT %(on_product)s::boolean OR r.product = k.product)
  AND (NOT %(on_model)s::boolean OR r.model = k.model)
  -- include usage_filter

-- fragment: usage_days_of_whole_users
-- Days of those of the users whom the caller may see, which is found out of each user and not of each row. They are named
-- in an array, whose index is gone through once; joined one by one, each is looked up from the top.
r.workspace_id = %(workspace_id)s::uuid
AND r.user_id = ANY (
  CASE
    WHEN %(everyone)s::boolean THEN %(cell_users)s::uuid[]
    ELSE ARRAY(
      SELECT u.id
      FROM unnest(%(cell_users)s::uuid[]) AS u(id)
      WHERE
        -- include user_visible
    )
  END
)
AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date

-- fragment: usage_figures_by_words
-- A row's product and model, where it is by them, and its figures.
CASE WHEN %(by_product)s::boolean THEN r.product END AS product,
CASE WHEN %(by_model)s::boolean THEN r.model END AS model,
-- include usage_figures

-- fragment: usage_figures
-- What days come to.
app_total(r.credits) AS credits, app_total(r.requests) AS requests, app_total(r.input_tokens) AS input_tokens,
app_total(r.cached_input_tokens) AS cached_input_tokens, app_total(r.output_tokens) AS output_tokens

-- fragment: usage_order
-- What rows are ordered by first: the smallest comes first.
CASE %(ordering)s::text
  WHEN 'CREDITS_DESC' THEN -credits
  WHEN 'CREDITS_ASC' THEN credits
  WHEN 'REQUESTS_DESC' THEN -requests
  WHEN 'TOKENS_DESC' THEN -(input_tokens + cached_input_tokens + output_tokens)
END

-- fragment: usage_is_any
-- What came to nothing is not told of.
(
  app_total(r.credits), app_total(r.requests), app_total(r.input_tokens), app_total(r.cached_input_tokens),
  app_total(r.output_tokens)
) <> (0, 0, 0, 0, 0)

-- fragment: usage_days_of_workspace
-- Whole days of the workspace, and of products and models in it, without users and groups.
SELECT k.nth, NULL::uuid AS user_id, NULL::uuid AS group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM rollup_workspace_day AS r
JOIN asked AS k
  ON CASE WHEN %(on_product)s::boolean THEN r.product ELSE '' END = k.product
  AND CASE WHEN %(on_model)s::boolean THEN r.model ELSE '' END = k.model
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
  AND (%(products)s::text[] IS NULL OR r.product = ANY (%(products)s::text[]))
  AND (%(models)s::text[] IS NULL OR r.model = ANY (%(models)s::text[]))

-- fragment: user_days
-- Every user's days in a span of days `edge`. The offset has each span looked up by itself: joined at large, all days of
-- all time may be gone through instead.
SELECT u.*
FROM rollup_user_day AS u
WHERE u.workspace_id = %(workspace_id)s::uuid
  AND u.day BETWEEN edge.first_day AND edge.last_day
OFFSET 0

-- fragment: usage_days
-- Whole days of other cells: each branch reads one rollup, and only the one that `source` names is run.
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM asked AS k
JOIN group_member AS m
  ON m.workspace_id = %(workspace_id)s::uuid
  AND m.group_id = k.members_of
JOIN rollup_user_detail_day AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.user_id = m.user_id
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
WHERE %(source)s::text = 'CELLS_OF_MEMBERS'
  AND (NOT %(on_group)s::boolean OR r.group_id = k.group_id)
  AND (NOT %(on_product)s::boolean OR r.product = k.product)
  AND (NOT %(on_model)s::boolean OR r.model = k.model)
  -- include usage_filter
UNION ALL
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM rollup_user_detail_day AS r
JOIN asked AS k ON
  -- include usage_cell
WHERE %(source)s::text = 'USER_DETAIL'
  AND r.workspace_id = %(workspace_id)s::uuid
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
  -- include usage_filter
UNION ALL
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM (SELECT g.*, NULL::uuid AS user_id FROM rollup_group_day AS g) AS r
JOIN asked AS k ON
  -- include usage_cell
WHERE %(source)s::text = 'GROUP'
  AND r.workspace_id = %(workspace_id)s::uuid
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
  -- include usage_filter
UNION ALL
  -- include usage_days_of_workspace
  AND %(source)s::text = 'WORKSPACE'
UNION ALL
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.day,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM (
  SELECT u.user_id, u.group_id, '' AS product, '' AS model, u.day, edge.sign * u.credits AS credits,
    edge.sign * u.requests AS requests, edge.sign * u.input_tokens AS input_tokens,
    edge.sign * u.cached_input_tokens AS cached_input_tokens, edge.sign * u.output_tokens AS output_tokens
  FROM unnest(%(edge_firsts)s::date[], %(edge_lasts)s::date[], %(edge_signs)s::bigint[]) AS edge(first_day, last_day, sign)
  CROSS JOIN LATERAL (
    -- include user_days
  ) AS u
) AS r
JOIN asked AS k ON
  -- include usage_cell
WHERE %(source)s::text = 'USER'
  -- include usage_filter
UNION ALL
SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.month,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM (SELECT u.*, '' AS product, '' AS model FROM rollup_user_month AS u) AS r
JOIN asked AS k ON
  -- include usage_cell
WHERE %(source)s::text = 'USER'
  AND r.workspace_id = %(workspace_id)s::uuid
  AND r.month >= %(months_from)s::date
  AND r.month < %(months_to)s::date
  -- include usage_filter

-- fragment: usage_instants
-- Parts of days, up to three spans of time: read from the events themselves, which few are in.
SELECT k.nth, r.user_id, coalesce(r.group_id, '00000000-0000-0000-0000-000000000000') AS group_id,
  r.product, r.model, (r.at AT TIME ZONE %(zone)s::text)::date AS day, r.at,
  r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
FROM asked AS k
LEFT JOIN group_member AS m
  ON %(on_members)s::boolean
  AND NOT %(on_user)s::boolean
  AND m.workspace_id = %(workspace_id)s::uuid
  AND m.group_id = k.members_of
JOIN unnest(%(span_starts)s::timestamptz[], %(span_ends)s::timestamptz[]) AS span(starts, ends) ON TRUE
JOIN usage_event AS r
  ON r.workspace_id = %(workspace_id)s::uuid
  AND r.at >= span.starts
  AND r.at < span.ends
  AND r.at >= %(starts)s::timestamptz
  AND r.at < %(ends)s::timestamptz
  AND (NOT %(on_user)s::boolean OR r.user_id = k.user_id)
  AND (NOT %(on_members)s::boolean OR %(on_user)s::boolean OR r.user_id = m.user_id)
  AND (NOT %(on_group)s::boolean OR coalesce(r.group_id, '00000000-0000-0000-0000-000000000000') = k.group_id)
  AND (NOT %(on_product)s::boolean OR r.product = k.product)
  AND (NOT %(on_model)s::boolean OR r.model = k.model)
WHERE (%(users)s::uuid[] IS NULL OR r.user_id = ANY (%(users)s::uuid[]))
  AND (
    %(groups)s::uuid[] IS NULL
    OR coalesce(r.group_id, '00000000-0000-0000-0000-000000000000') = ANY (%(groups)s::uuid[])
  )
  AND (%(products)s::text[] IS NULL OR r.product = ANY (%(products)s::text[]))
  AND (%(models)s::text[] IS NULL OR r.model = ANY (%(models)s::text[]))

-- fragment: usage_rows
-- The first rows of each cell, then one row for all the others, so that the parts are the whole. What adds up to
-- nothing at all has no row: months are read for some of their days, and the others are taken away again.
summed AS (
  SELECT nth,
    CASE WHEN %(by_user)s::boolean THEN user_id END AS user_id,
    CASE WHEN %(by_group)s::boolean THEN group_id END AS group_id,
    CASE WHEN %(by_product)s::boolean THEN product END AS product,
    CASE WHEN %(by_model)s::boolean THEN model END AS model,
    sum(credits) AS credits, sum(requests) AS requests, sum(input_tokens) AS input_tokens,
    sum(cached_input_tokens) AS cached_input_tokens, sum(output_tokens) AS output_tokens
  FROM slice
  GROUP BY 1, 2, 3, 4, 5
  HAVING sum(credits) <> 0 OR sum(requests) <> 0 OR sum(input_tokens) <> 0 OR sum(cached_input_tokens) <> 0
    OR sum(output_tokens) <> 0
),
ranked AS (
  SELECT *,
    row_number() OVER (
      PARTITION BY nth
      ORDER BY
        -- include usage_order
        , product, model, user_id, group_id
    ) AS place
  FROM summed
)
SELECT nth, user_id, group_id, product, model,
  credits::bigint, requests::bigint, input_tokens::bigint, cached_input_tokens::bigint, output_tokens::bigint, 1, place
FROM ranked
WHERE place <= %(first)s::integer
UNION ALL
SELECT nth, NULL, NULL, NULL, NULL, sum(credits)::bigint, sum(requests)::bigint, sum(input_tokens)::bigint,
  sum(cached_input_tokens)::bigint, sum(output_tokens)::bigint, count(*), NULL
FROM ranked
WHERE place > %(first)s::integer
GROUP BY nth
ORDER BY nth, place

-- fragment: usage_points
-- The points of the first series of each cell by credits, then of one series for all the others. Adding up is most of
-- the work: figures that nobody reads stay zero.
pointed AS MATERIALIZED (
  SELECT nth,
    CASE WHEN %(by_user)s::boolean THEN user_id END AS user_id,
    CASE WHEN %(by_group)s::boolean THEN group_id END AS group_id,
    CASE WHEN %(by_product)s::boolean THEN product END AS product,
    CASE WHEN %(by_model)s::boolean THEN model END AS model,
    bucket, sum(credits)::bigint AS credits,
    coalesce(sum(requests) FILTER (WHERE NOT %(credits_only)s::boolean), 0)::bigint AS requests,
    coalesce(sum(input_tokens) FILTER (WHERE NOT %(credits_only)s::boolean), 0)::bigint AS input_tokens,
    coalesce(sum(cached_input_tokens) FILTER (WHERE NOT %(credits_only)s::boolean), 0)::bigint AS cached_input_tokens,
    coalesce(sum(output_tokens) FILTER (WHERE NOT %(credits_only)s::boolean), 0)::bigint AS output_tokens
  FROM slice
  GROUP BY 1, 2, 3, 4, 5, 6
),
placed AS (
  SELECT nth, user_id, group_id, product, model,
    row_number() OVER (PARTITION BY nth ORDER BY sum(credits) DESC, product, model, user_id, group_id) AS place
  FROM pointed
  GROUP BY nth, user_id, group_id, product, model
),
found AS (
  SELECT p.*, l.place
  FROM pointed AS p
  JOIN placed AS l
    ON l.nth = p.nth
    AND l.user_id IS NOT DISTINCT FROM p.user_id
    AND l.group_id IS NOT DISTINCT FROM p.group_id
    AND l.product IS NOT DISTINCT FROM p.product
    AND l.model IS NOT DISTINCT FROM p.model
)
SELECT nth, user_id, group_id, product, model, place, bucket, credits, requests, input_tokens, cached_input_tokens,
  output_tokens
FROM found
WHERE place <= %(first)s::integer
UNION ALL
SELECT nth, NULL, NULL, NULL, NULL, NULL, bucket,
  sum(credits)::bigint, sum(requests)::bigint, sum(input_tokens)::bigint, sum(cached_input_tokens)::bigint,
  sum(output_tokens)::bigint
FROM found
WHERE place > %(first)s::integer
GROUP BY nth, bucket
ORDER BY nth, place, bucket

-- fragment: usage_written
-- The first rows of a user as one JSON list: told one by one, and written elsewhere, they cost as much again as to find
-- them.
--
-- The template is a row's JSON as format() takes it: 1 is the product, 2 the model, 3 the credits, 4 the requests, and
-- 5 to 7 are the input, cached input and output tokens.
'[' || array_to_string((array_agg(
  format(
    %(template)s::text,
    coalesce(to_json(product)::text, 'null'), coalesce(to_json(model)::text, 'null'),
    trim_scale(credits * 0.000001), requests, input_tokens, cached_input_tokens, output_tokens
  )
  ORDER BY
    -- include usage_order
    , product, model
))[1:%(first)s::integer], ',') || ']'

-- name: usage_breakdown_of_whole_users
-- plan: generic
-- message: shared
-- The same of whole users, all rows of each, in their order: the commonest read, which does without ranks.
SELECT user_id, NULL::uuid, group_id, product, model, credits, requests, input_tokens, cached_input_tokens, output_tokens
FROM (
  SELECT r.user_id,
    CASE WHEN %(by_group)s::boolean THEN r.group_id END AS group_id,
    -- include usage_figures_by_words
  FROM rollup_user_detail_day AS r
  WHERE
    -- include usage_days_of_whole_users
    -- include usage_filter
  GROUP BY 1, 2, 3, 4
  HAVING
    -- include usage_is_any
) AS r
ORDER BY user_id,
  -- include usage_order
  , product, model, group_id;

-- fragment: usage_version
-- As of what a user's usage in some months is: the transactions that wrote the rows of those months last. Every event
-- writes its month's row, so that as long as the version is the same nothing was recorded that changes any of it.
--
-- The figures are there for a database that is put back to what it was, where transactions are numbered as before.
hashtextextended(
  string_agg(
    concat_ws(
      ' ', m.xmin, m.credits, m.requests, m.input_tokens, m.cached_input_tokens, m.output_tokens
    ),
    ' ' ORDER BY m.month, m.group_id
  ),
  0
) AS version

-- name: usage_written_of_users
-- plan: hashed
-- message: shared
-- The breakdowns of whole users by product and model as JSON, in one row, with the versions that they are as of: those
-- alone whose version is not the one that the caller knows; the others, who may be thousands, are as they were. JSON has
-- no ends of lines in it, so that they part the lists: each in a row of its own, and thousands of rows, would be sent and
-- received one by one.
--
-- What is added up in a table of hashes need not be sorted by words first, day after day.
WITH asked AS MATERIALIZED (
  SELECT u.id, coalesce(v.version, 0) AS version, coalesce(v.version = u.known, FALSE) AS is_known
  FROM unnest(%(cell_users)s::uuid[], %(known_versions)s::bigint[]) AS u(id, known)
  LEFT JOIN (
    SELECT m.user_id,
      -- include usage_version
    FROM rollup_user_month AS m
    WHERE m.workspace_id = %(workspace_id)s::uuid
      AND m.month = ANY (%(months)s::date[])
      AND m.user_id = ANY (%(cell_users)s::uuid[])
    GROUP BY m.user_id
  ) AS v ON v.user_id = u.id
  WHERE
    -- include user_visible
)
SELECT string_agg(a.id::text, ','), string_agg(a.version::text, ','),
  string_agg(CASE WHEN a.is_known THEN '' ELSE coalesce(r.written, '[]') END, E'\n')
FROM asked AS a
LEFT JOIN (
  SELECT user_id,
    -- include usage_written
    AS written
  FROM (
    SELECT r.user_id,
      -- include usage_figures_by_words
    FROM rollup_user_detail_day AS r
    WHERE r.workspace_id = %(workspace_id)s::uuid
      AND r.user_id = ANY (ARRAY(SELECT asked.id FROM asked WHERE NOT asked.is_known))
      AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
    GROUP BY 1, 2, 3
    HAVING
      -- include usage_is_any
  ) AS r
  GROUP BY user_id
) AS r ON r.user_id = a.id;

-- name: usage_written_of_one
-- plan: hashed
-- message: shared
-- The same of oneself, or of anybody for whoever sees everyone, by product and model both: what people ask of themselves.
-- To find out whom of many users a caller may see, and which words to go by, took a fifth of its time.
SELECT
  -- include usage_written
FROM (
  SELECT r.product, r.model,
    -- include usage_figures
  FROM rollup_user_detail_day AS r
  WHERE r.workspace_id = %(workspace_id)s::uuid
    AND r.user_id = %(user_id)s::uuid
    AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
    AND (%(everyone)s::boolean OR %(user_id)s::uuid = %(own_user)s::uuid)
  GROUP BY 1, 2
  HAVING
    -- include usage_is_any
) AS r
HAVING count(*) > 0;

-- name: usage_breakdown_of_users
-- plan: generic
-- message: shared
-- Break users' usage over whole days down by any of charged group, product and model; by none gives totals.
WITH
  -- include usage_asked
, slice AS (
  -- include usage_days_of_users
),
  -- include usage_rows
;

-- name: usage_breakdown_of_workspace
-- plan: generic
-- The same of the workspace, by product and model alone.
WITH
  -- include usage_asked
, slice AS (
  -- include usage_days_of_workspace
),
  -- include usage_rows
;

-- fragment: users_of_most
-- The workspace's users who used most credits over whole days, and who they are: no sum of the others.
--
-- Who used no credits is a row all the same if they used anything else; that is looked up for such users alone.
spent AS (
  SELECT r.user_id, app_total(r.credits) AS credits
  FROM (
    -- include users_spending
  ) AS r
  GROUP BY r.user_id
  HAVING CASE
    WHEN app_total(r.credits) <> 0 THEN TRUE
    ELSE EXISTS (
      SELECT
      FROM rollup_user_detail_day AS d
      WHERE d.workspace_id = %(workspace_id)s::uuid
        AND d.user_id = r.user_id
        AND d.day BETWEEN %(first_day)s::date AND %(last_day)s::date
      HAVING app_total(d.requests) <> 0 OR app_total(d.input_tokens) <> 0 OR app_total(d.cached_input_tokens) <> 0
        OR app_total(d.output_tokens) <> 0
    )
  END
),
most AS (
  SELECT user_id, credits
  FROM spent
  ORDER BY credits DESC, user_id
  LIMIT %(first)s::integer
)

-- fragment: named_most
FROM most
LEFT JOIN app_user AS u
  ON u.workspace_id = %(workspace_id)s::uuid
  AND u.id = most.user_id
WHERE %(everyone)s::boolean

-- name: usage_most
-- plan: scattered
-- Who used most credits, as rows.
WITH
  -- include users_of_most
SELECT 1 AS nth, most.user_id, NULL::uuid AS group_id, NULL AS product, NULL AS model,
  most.credits, 0, 0, 0, 0, 1, row_number() OVER (ORDER BY most.credits DESC, most.user_id) AS place,
  u.id, u.display_name, u.email, u.external_id, u.kind, u.active, u.home_group_id, u.version
-- include named_most
ORDER BY place;

-- name: usage_most_written
-- plan: scattered
-- The same as one JSON list, and nothing where a user is not there to be named.
--
-- The template is as that of whole users, but 3 alone is there of the figures; 8 to 10 are the user's id, as the API
-- tells it, name and e-mail address.
WITH
  -- include users_of_most
SELECT
  CASE WHEN count(*) = count(u.id) THEN '[' || coalesce(string_agg(
    format(
      %(template)s::text,
      'null', 'null', trim_scale(most.credits * 0.000001), NULL, NULL, NULL, NULL,
      rtrim(encode(convert_to('User:' || u.id, 'UTF8'), 'base64'), '='), to_json(u.display_name),
      coalesce(to_json(u.email)::text, 'null')
    ),
    ',' ORDER BY most.credits DESC, most.user_id
  ), '') || ']' END
-- include named_most
;

-- name: usage_breakdown
-- plan: custom
-- The same of a workspace, of groups and of the people in them, and by user.
WITH
  -- include usage_asked
, slice AS (
  -- include usage_days
),
  -- include usage_rows
;

-- name: usage_breakdown_between
-- plan: custom
-- The same between two moments: whole days from the rollup, the rest of the first and last day from the events.
WITH
  -- include usage_asked
, part AS (
  -- include usage_instants
),
slice AS (
  -- include usage_days_of_users
  AND %(source)s::text = 'CELLS_OF_USERS'
UNION ALL
  -- include usage_days
UNION ALL
SELECT nth, user_id, group_id, product, model, day, credits, requests, input_tokens, cached_input_tokens, output_tokens
FROM part
),
  -- include usage_rows
;

-- name: usage_series_of_users
-- Users' usage over whole days as series of days, weeks (from Monday) or months, by at most one dimension.
WITH
  -- include usage_asked
, whole AS (
  -- include usage_days_of_users
),
slice AS (
  SELECT whole.*, date_trunc(%(bucket)s::text, day::timestamp)::date AS bucket
  FROM whole
),
  -- include usage_points
;

-- name: usage_series_of_workspace
-- plan: generic
-- The same of the workspace, by product or model alone.
WITH
  -- include usage_asked
, slice AS (
  SELECT whole.*, date_trunc(%(bucket)s::text, day::timestamp)::date AS bucket
  FROM (
    -- include usage_days_of_workspace
  ) AS whole
),
  -- include usage_points
;

-- fragment: days_by_product
-- What a chart of the workspace mostly shows.
(%(bucket)s::text = 'day' AND %(by_product)s::boolean AND NOT %(by_model)s::boolean)

-- fragment: days_of_workspace
-- The workspace's days in the range, for whoever may see everyone.
FROM rollup_workspace_day AS r
WHERE %(everyone)s::boolean
  AND r.workspace_id = %(workspace_id)s::uuid
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date

-- name: usage_series_of_credits
-- plan: generic
-- message: along
-- The credits of the whole workspace as series, the largest first: of each the points where anything was used, as two
-- lists with commas in between, which take less to hand over than a row for each point. `as_written` has credits as the
-- API writes them, instead of micro-credits.
--
-- Days by product are in the order of the key, and need no hash of each row. The others are a branch of their own, which
-- is not run for them.
SELECT product, model, string_agg(bucket::text, ','),
  string_agg(CASE WHEN %(as_written)s::boolean THEN trim_scale(credits * 0.000001)::text ELSE credits::text END, ',')
FROM (
  SELECT r.day AS bucket, r.product, NULL AS model, app_total(r.credits) AS credits
  -- include days_of_workspace
    AND
    -- include days_by_product
  GROUP BY r.day, r.product
  UNION ALL
  SELECT
    -- A day is its own: that is quicker to see than to cut.
    CASE WHEN %(bucket)s::text = 'day' THEN r.day ELSE date_trunc(%(bucket)s::text, r.day::timestamp)::date END AS bucket,
    CASE WHEN %(by_product)s::boolean THEN r.product END AS product,
    CASE WHEN %(by_model)s::boolean THEN r.model END AS model,
    app_total(r.credits) AS credits
  -- include days_of_workspace
    AND NOT
    -- include days_by_product
  GROUP BY 1, 2, 3
) AS r
GROUP BY product, model
ORDER BY app_total(credits) DESC, product, model;

-- name: usage_series
-- plan: custom
-- The same of a workspace, of groups and of the people in them, and by user.
WITH
  -- include usage_asked
, whole AS (
  -- include usage_days
),
slice AS (
  SELECT whole.*, date_trunc(%(bucket)s::text, day::timestamp)::date AS bucket
  FROM whole
),
  -- include usage_points
;

-- name: usage_series_between
-- plan: custom
-- The same between two moments.
WITH
  -- include usage_asked
, part AS (
  -- include usage_instants
),
whole AS (
  -- include usage_days_of_users
  AND %(source)s::text = 'CELLS_OF_USERS'
UNION ALL
  -- include usage_days
UNION ALL
SELECT nth, user_id, group_id, product, model, day, credits, requests, input_tokens, cached_input_tokens, output_tokens
FROM part
),
slice AS (
  SELECT whole.*, date_trunc(%(bucket)s::text, day::timestamp)::date AS bucket
  FROM whole
),
  -- include usage_points
;

-- name: usage_hours
-- plan: custom
-- The cells' usage without users as series of hours of the workspace's zone.
WITH
  -- include usage_asked
, slice AS (
  SELECT k.nth, r.user_id, r.group_id, r.product, r.model, r.hour AS bucket,
    r.credits, r.requests, r.input_tokens, r.cached_input_tokens, r.output_tokens
  FROM (SELECT h.*, NULL::uuid AS user_id FROM rollup_group_hour AS h) AS r
  JOIN asked AS k ON
    -- include usage_cell
  WHERE r.workspace_id = %(workspace_id)s::uuid
    AND r.hour >= %(starts)s::timestamptz
    AND r.hour < %(ends)s::timestamptz
    -- include usage_filter
),
  -- include usage_points
;

-- name: usage_hours_between
-- plan: custom
-- The same from the events: with users, or between moments that are not full hours.
WITH
  -- include usage_asked
, part AS (
  -- include usage_instants
),
slice AS (
  SELECT part.*, date_trunc('hour', at, %(zone)s::text) AS bucket
  FROM part
),
  -- include usage_points
;
