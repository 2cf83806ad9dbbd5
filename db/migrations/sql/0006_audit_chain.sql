-- The only way into the audit trail: entries of one workspace are added one after the other, each with the hash of the
-- one before it. Nobody but the owner may write entries or the chain's end otherwise, so it runs as the owner, for the
-- workspace of the context and for no other. It waits for whoever else adds to the chain: call it last.
CREATE FUNCTION add_audit_entries(
  p_workspace_id uuid, p_now timestamptz, p_actor_kind text, p_actor_subject text, p_actor_user uuid,
  p_actions text[], p_object_types text[], p_object_ids uuid[], p_users uuid[], p_groups uuid[],
  p_befores text[], p_afters text[], p_contents bytea[]
) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  v_hash bytea;
  v_previous bytea;
  v_id bigint;
BEGIN
  IF p_workspace_id IS DISTINCT FROM app_workspace_id() THEN
    RAISE insufficient_privilege USING MESSAGE = 'entries are added to the audit trail of the workspace in context';
  END IF;
  INSERT INTO audit_head (workspace_id, entries, hash)
  VALUES (p_workspace_id, 0, decode(repeat('00', 32), 'hex'))
  ON CONFLICT (workspace_id) DO NOTHING;
  SELECT h.hash INTO v_hash
  FROM audit_head AS h
  WHERE h.workspace_id = p_workspace_id
  FOR UPDATE;
  FOR i IN 1 .. cardinality(p_actions) LOOP
    -- Under the lock, so that ids grow along the chain.
    v_id := nextval('audit_entry_id_seq');
    v_previous := v_hash;
    v_hash := sha256(v_previous || int8send(v_id) || p_contents[i]);
    INSERT INTO audit_entry (
      workspace_id, id, at, actor_kind, actor_subject, actor_user_id, action, object_type, object_id, user_id, group_id,
      before, after, previous, hash)
    VALUES (
      p_workspace_id, v_id, p_now, p_actor_kind, p_actor_subject, p_actor_user, p_actions[i], p_object_types[i],
      p_object_ids[i], p_users[i], p_groups[i], p_befores[i]::jsonb, p_afters[i]::jsonb, v_previous, v_hash);
  END LOOP;
  UPDATE audit_head AS h
  SET entries = h.entries + cardinality(p_actions), hash = v_hash
  WHERE h.workspace_id = p_workspace_id;
  RETURN cardinality(p_actions);
END
$$;

CREATE POLICY administrator ON audit_head TO creditdesk_administrator USING (workspace_id = app_workspace_id());
GRANT SELECT ON audit_head TO creditdesk_administrator;
REVOKE INSERT ON audit_entry FROM creditdesk_administrator;
REVOKE ALL ON SEQUENCE audit_entry_id_seq FROM creditdesk_administrator;
REVOKE ALL ON FUNCTION add_audit_entries FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_audit_entries TO creditdesk_administrator;
