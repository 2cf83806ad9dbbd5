-- name: rate_card_rates
-- A workspace's rates, of all times: late events are priced by the time of their own.
SELECT r.id, r.product, r.model, r.meter, r.price, r.effective_from, r.effective_until
FROM rate AS r
WHERE r.workspace_id = %(workspace_id)s::uuid;

-- name: rate_card_multipliers
-- A workspace's multipliers of service tiers, of all times.
SELECT m.id, m.product, m.tier, m.millionths, m.effective_from, m.effective_until
FROM rate_multiplier AS m
WHERE m.workspace_id = %(workspace_id)s::uuid;

-- name: add_rates
-- Put rates on the card. Only under `change_controls`, like all that changes the card.
INSERT INTO rate (workspace_id, id, product, model, meter, price, effective_from, effective_until, set_by, set_at)
SELECT %(workspace_id)s::uuid, n.id, n.product, n.model, n.meter, n.price, n.effective_from, n.effective_until,
  %(set_by)s::uuid, %(now)s::timestamptz
FROM unnest(
  %(ids)s::uuid[], %(products)s::text[], %(models)s::text[], %(meters)s::text[], %(prices)s::bigint[],
  %(starts)s::timestamptz[], %(ends)s::timestamptz[]
) AS n(id, product, model, meter, price, effective_from, effective_until);

-- name: add_rate_multipliers
-- Put multipliers of service tiers on the card.
INSERT INTO rate_multiplier (
  workspace_id, id, product, tier, millionths, effective_from, effective_until, set_by, set_at)
SELECT %(workspace_id)s::uuid, n.id, n.product, n.tier, n.millionths, n.effective_from, n.effective_until,
  %(set_by)s::uuid, %(now)s::timestamptz
FROM unnest(
  %(ids)s::uuid[], %(products)s::text[], %(tiers)s::text[], %(millionths)s::bigint[], %(starts)s::timestamptz[],
  %(ends)s::timestamptz[]
) AS n(id, product, tier, millionths, effective_from, effective_until);

-- fragment: priced_with_it
-- Whether an event that is dated ahead, which at most a day of them are, was priced with the line `r` of the card.
EXISTS (
  SELECT
  FROM usage_event AS e
  WHERE e.workspace_id = %(workspace_id)s::uuid
    AND e.at > %(now)s::timestamptz
    AND e.rate_ids @> ARRAY[r.id]
)

-- name: remove_rate
-- Take a rate off the card, unless it has come into effect.
DELETE FROM rate AS r
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.id = %(id)s::uuid
  AND r.effective_from > %(now)s::timestamptz
  AND NOT
  -- include priced_with_it
RETURNING r.id;

-- name: remove_rate_multiplier
-- Take a multiplier off the card, unless it has come into effect.
DELETE FROM rate_multiplier AS r
WHERE r.workspace_id = %(workspace_id)s::uuid
  AND r.id = %(id)s::uuid
  AND r.effective_from > %(now)s::timestamptz
  AND NOT
  -- include priced_with_it
RETURNING r.id;
