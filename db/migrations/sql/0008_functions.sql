-- The functions of revision 0008: placing holds.

-- Places holds, all that come together in one transaction, each with an answer of its own.
--
-- The rules are resolved by the caller, from a version of them that is checked here under the lock: another version
-- answers one row with nth 0, and changes nothing. Whoever inserts a hold's id first owns it; everybody else reads what
-- became of it. Balances come sorted, and are locked in that order, which all writers keep. What is checked is read by
-- a statement of its own after the locks: a statement sees what was committed when it began, not what it waited for.
-- Holds are granted in the order they came, each only where every hard limit has room for the whole of it.
CREATE OR REPLACE FUNCTION place_holds(
  p_workspace_id uuid, p_now timestamptz, p_version bigint,
  p_ids uuid[], p_hashes uuid[], p_sources text[], p_external_ids text[], p_users uuid[], p_groups uuid[],
  p_products text[], p_models text[], p_amounts bigint[], p_until bigint[], p_rates text[],
  p_firsts integer[], p_lasts integer[],
  p_known boolean, b_kinds integer[], b_scopes uuid[], b_days date[], b_shared boolean[],
  c_balances integer[], c_amounts bigint[], c_hard boolean[], c_limits uuid[]
) RETURNS TABLE (nth integer, is_new boolean, placed hold) LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
  v_seconds bigint := floor(extract(epoch FROM p_now))::bigint;
  v_holds integer := cardinality(p_ids);
  v_inserted uuid[];
  v_new boolean[];
  v_granted boolean[] := array_fill(false, ARRAY[v_holds]);
  v_binding integer[] := array_fill(0, ARRAY[v_holds]);
  v_left bigint[] := array_fill(0::bigint, ARRAY[v_holds]);
  v_taken bigint[];
  v_room bigint;
  v_refused boolean := false;
  v_softly boolean := false;
  v_soft boolean[] := array_fill(false, ARRAY[cardinality(c_balances)]);
BEGIN
  PERFORM pg_advisory_xact_lock_shared(controls_key(p_workspace_id));
  PERFORM FROM workspace_settings AS s WHERE s.workspace_id = p_workspace_id AND s.controls_version = p_version;
  IF NOT FOUND THEN
    nth := 0;
    RETURN NEXT;
    RETURN;
  END IF;

  WITH inserted AS (
    INSERT INTO hold (
      workspace_id, id, request_hash, user_id, group_id, amount, placed_at, expires_at, state, source, external_id,
      product, model, rate_ids)
    SELECT p_workspace_id, a.id, a.request_hash, a.user_id, a.group_id, a.amount, p_now, to_timestamp(a.until), 'HELD',
      a.source, a.external_id, a.product, a.model, a.rates::uuid[]
    FROM unnest(
      p_ids, p_hashes, p_sources, p_external_ids, p_users, p_groups, p_products, p_models, p_amounts, p_until, p_rates
    ) AS a(id, request_hash, source, external_id, user_id, group_id, product, model, amount, until, rates)
    ORDER BY a.id
    ON CONFLICT (workspace_id, id) DO NOTHING
    RETURNING id
  )
  SELECT array_agg(i.id) INTO v_inserted
  FROM inserted AS i;
  IF cardinality(v_inserted) = v_holds THEN
    v_new := array_fill(true, ARRAY[v_holds]);
  ELSE
    SELECT array_agg(a.id = ANY (coalesce(v_inserted, '{}')) ORDER BY a.n) INTO v_new
    FROM unnest(p_ids) WITH ORDINALITY AS a(id, n);
  END IF;

  IF NOT p_known AND (
    SELECT count(*)
    FROM unnest(b_kinds, b_scopes, b_days) AS k(kind_id, scope_id, first_day)
    CROSS JOIN LATERAL (
      SELECT
      FROM balance AS b
      WHERE b.workspace_id = p_workspace_id AND b.kind_id = k.kind_id AND b.scope_id = k.scope_id
        AND b.first_day = k.first_day
      LIMIT 1
    ) AS b
  ) < cardinality(b_kinds) THEN
    -- The first in a period. Making what is missing and locking the rest in one pass keeps the order of locks.
    INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used)
    SELECT p_workspace_id, k.kind_id, k.scope_id, k.first_day, k.shared, 0
    FROM unnest(b_kinds, b_scopes, b_days, b_shared) WITH ORDINALITY AS k(kind_id, scope_id, first_day, shared, n)
    ORDER BY k.n
    ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE SET used = b.used;
  END IF;
  SELECT array_agg(b.used + held_now(b.held, v_seconds) ORDER BY k.n) INTO v_taken
  FROM unnest(b_kinds, b_scopes, b_days) WITH ORDINALITY AS k(kind_id, scope_id, first_day, n)
  CROSS JOIN LATERAL (
    SELECT b.used, b.held
    FROM balance AS b
    WHERE b.workspace_id = p_workspace_id AND b.kind_id = k.kind_id AND b.scope_id = k.scope_id
      AND b.first_day = k.first_day
    LIMIT 1
    FOR NO KEY UPDATE
  ) AS b;

  IF coalesce(cardinality(v_taken), 0) < cardinality(b_kinds) THEN
    RAISE EXCEPTION 'a balance that was there is gone';
  END IF;

  FOR n IN 1 .. v_holds LOOP
    CONTINUE WHEN NOT v_new[n];
    FOR i IN p_firsts[n] .. p_lasts[n] LOOP
      CONTINUE WHEN c_amounts[i] IS NULL;
      v_room := c_amounts[i] - v_taken[c_balances[i]];
      IF v_room < p_amounts[n] OR c_amounts[i] = 0 THEN
        IF NOT c_hard[i] THEN
          v_soft[i] := true;
        ELSIF v_binding[n] = 0 OR v_room < v_left[n] THEN
          v_binding[n] := i;
          v_left[n] := v_room;
        END IF;
      END IF;
    END LOOP;
    IF v_binding[n] > 0 THEN
      v_refused := true;
    ELSE
      v_granted[n] := true;
      FOR i IN p_firsts[n] .. p_lasts[n] LOOP
        v_taken[c_balances[i]] := v_taken[c_balances[i]] + p_amounts[n];
        v_softly := v_softly OR v_soft[i];
      END LOOP;
    END IF;
  END LOOP;

  INSERT INTO balance AS b (workspace_id, kind_id, scope_id, first_day, shared, used, held)
  SELECT p_workspace_id, b_kinds[s.balance], b_scopes[s.balance], b_days[s.balance], b_shared[s.balance], 0,
    array_agg(ARRAY[s.until, s.amount])
  FROM (
    SELECT c_balances[i] AS balance, p_until[h.n] AS until, sum(p_amounts[h.n])::bigint AS amount
    FROM generate_series(1, v_holds) AS h(n)
    CROSS JOIN LATERAL generate_series(p_firsts[h.n], p_lasts[h.n]) AS i
    WHERE v_granted[h.n]
    GROUP BY 1, 2
  ) AS s
  GROUP BY s.balance
  ORDER BY s.balance
  ON CONFLICT (workspace_id, kind_id, scope_id, first_day) DO UPDATE
  SET held = held_merged(b.held, excluded.held, v_seconds);

  IF v_refused THEN
    UPDATE hold AS h
    SET state = 'REFUSED',
      ended_at = p_now,
      refusal = jsonb_build_object(
        'kind_id', b_kinds[c_balances[v_binding[a.n]]],
        'scope_id', b_scopes[c_balances[v_binding[a.n]]],
        'first_day', b_days[c_balances[v_binding[a.n]]],
        'limit_id', c_limits[v_binding[a.n]],
        'amount', c_amounts[v_binding[a.n]]::text,
        'remaining', greatest(v_left[a.n], 0)::text)
    FROM unnest(p_ids) WITH ORDINALITY AS a(id, n)
    WHERE v_binding[a.n] > 0 AND h.workspace_id = p_workspace_id AND h.id = a.id;
  END IF;
  IF v_softly THEN
    UPDATE hold AS h
    SET passed_soft = s.limits
    FROM (
      SELECT a.id, array_agg(c_limits[i] ORDER BY i) AS limits
      FROM unnest(p_ids) WITH ORDINALITY AS a(id, n)
      CROSS JOIN LATERAL generate_series(p_firsts[a.n], p_lasts[a.n]) AS i
      WHERE v_granted[a.n] AND v_soft[i]
      GROUP BY a.id
    ) AS s
    WHERE h.workspace_id = p_workspace_id AND h.id = s.id;
  END IF;

  -- What was simply granted is as it was asked for: only the others are read.
  IF cardinality(v_inserted) = v_holds AND NOT v_refused AND NOT v_softly THEN
    RETURN;
  END IF;
  RETURN QUERY
  SELECT a.n::integer, v_new[a.n], h.hold
  FROM unnest(p_ids) WITH ORDINALITY AS a(id, n)
  CROSS JOIN LATERAL (
    SELECT hold
    FROM hold
    WHERE hold.workspace_id = p_workspace_id AND hold.id = a.id
    LIMIT 1
  ) AS h
  WHERE NOT v_granted[a.n] OR v_softly;
END
$$;
