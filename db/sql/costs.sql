-- name: cost_page
-- plan: custom
-- What everybody used in days, by user, day, charged group, product and model: a page in the order of the primary key.
SELECT r.user_id, r.day, r.group_id, r.product, r.model, r.credits, r.requests, r.input_tokens, r.cached_input_tokens,
  r.output_tokens, u.email, u.external_id, g.slug
FROM rollup_user_detail_day AS r
LEFT JOIN app_user AS u
  ON u.workspace_id = %(workspace_id)s::uuid
  AND u.id = r.user_id
LEFT JOIN user_group AS g
  ON g.workspace_id = %(workspace_id)s::uuid
  AND g.id = r.group_id
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.day BETWEEN %(first_day)s::date AND %(last_day)s::date
  AND (
    %(after_user)s::uuid IS NULL
    OR (r.user_id, r.day, r.group_id, r.product, r.model)
      > (%(after_user)s::uuid, %(after_day)s::date, %(after_group)s::uuid, %(after_product)s::text,
        %(after_model)s::text)
  )
ORDER BY r.user_id, r.day, r.group_id, r.product, r.model
LIMIT %(size)s::integer;
