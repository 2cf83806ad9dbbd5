-- Only the server reads the outbox, to see whom to wake; what they are told they read themselves. Members have no policy.
CREATE POLICY administrator ON outbox TO creditdesk_administrator USING (workspace_id = app_workspace_id());
GRANT SELECT, INSERT ON outbox TO creditdesk_administrator;
GRANT USAGE ON SEQUENCE outbox_id_seq TO creditdesk_administrator;

-- Runs as the owner, since upkeep is for all workspaces at once; it takes a moment and nothing else.
CREATE FUNCTION trim_outbox(p_before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  v_gone bigint;
BEGIN
  DELETE FROM outbox AS o WHERE o.written_at < p_before;
  GET DIAGNOSTICS v_gone = ROW_COUNT;
  RETURN v_gone;
END
$$;
REVOKE ALL ON FUNCTION trim_outbox(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trim_outbox(timestamptz) TO creditdesk_administrator;
