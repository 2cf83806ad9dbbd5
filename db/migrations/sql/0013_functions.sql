-- The functions of revision 0013: granting holds, without a look at whether each is there already.

-- Grants holds that came together, all of them or, answering false, none: where the rules are of another version, a hold
-- is there already, or a limit has no room for all that would count in it. Then `place_holds` finds each one's answer.
--
-- Each balance is locked, checked and changed in one step: ON CONFLICT DO UPDATE evaluates its WHERE for the row as it
-- is once it is locked, unlike a statement that reads the row by its snapshot. Balances come sorted, in the order that
-- all writers lock them in. `b_highest` is the most that may be taken of each beforehand. As it has to travel in a row
-- proposed for insertion it is there as a negative `used`, which is told from that of a row that was found.
--
-- That a hold is there already is seldom, and the key itself says so: to look before each insertion, as ON CONFLICT
-- does, takes a twelfth of the time of all this.
CREATE OR REPLACE FUNCTION grant_holds(
  p_workspace_id uuid, p_now timestamptz, p_version bigint,
  p_ids uuid[], p_hashes uuid[], p_sources text[], p_external_ids text[], p_users uuid[], p_groups uuid[],
  p_products text[], p_models text[], p_amounts bigint[], p_until bigint[], p_rates text[],
  b_kinds integer[], b_scopes uuid[], b_days date[], b_highest bigint[], b_held text[]
) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
  v_seconds bigint := floor(extract(epoch FROM p_now))::bigint;
  v_rows bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(controls_key(p_workspace_id));
  PERFORM FROM workspace_settings AS s WHERE s.workspace_id = p_workspace_id AND s.controls_version = p_version;
  IF NOT FOUND THEN
    RETURN false;
  END IF;

  INSERT INTO hold (
    workspace_id, id, request_hash, user_id, group_id, amount, placed_at, expires_at, state, source, external_id,
    product, model, rate_ids)
  SELECT p_workspace_id, a.id, a.request_hash, a.user_id, a.group_id, a.amount, p_now, to_timestamp(a.until), 'HELD',
    a.source, a.external_id, a.product, a.model, a.rates::uuid[]
  FROM unnest(
    p_ids, p_hashes, p_sources, p_external_ids, p_users, p_groups, p_products, p_models, p_amounts, p_until, p_rates
  ) AS a(id, request_hash, source, external_id, user_id, group_id, product, model, amount, until, rates)
  ORDER BY a.id;

  WITH granted AS (
    INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used, held)
    SELECT p_workspace_id, k.kind_id, k.scope_id, k.first_day, false, -1 - k.highest, k.held::bigint[]
    FROM unnest(b_kinds, b_scopes, b_days, b_highest, b_held)
      WITH ORDINALITY AS k(kind_id, scope_id, first_day, highest, held, n)
    ORDER BY k.n
    ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE
    SET held = held_merged(b.held, excluded.held, v_seconds)
    WHERE b.used + held_now(b.held, v_seconds) <= -1 - excluded.used
    RETURNING used
  )
  SELECT count(*) INTO v_rows
  FROM granted
  WHERE used >= 0;
  IF v_rows < cardinality(b_kinds) THEN
    RAISE EXCEPTION USING ERRCODE = 'CD001';
  END IF;
  RETURN true;
EXCEPTION
  WHEN unique_violation OR SQLSTATE 'CD001' THEN
    RETURN false;
END
$$;
