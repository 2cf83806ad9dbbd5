-- Who sees and does what in the tables of revision 0002.

CREATE POLICY administrator ON workspace_settings TO creditdesk_administrator
  USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON credit_limit TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON balance_kind TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON balance TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON hold TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON credit_request TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rate TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON rate_multiplier TO creditdesk_administrator USING (workspace_id = app_workspace_id());
CREATE POLICY administrator ON audit_entry TO creditdesk_administrator USING (workspace_id = app_workspace_id());

-- Members: their own limits, balances, holds and requests, and what they share with others: the limits and balances of
-- groups and of the workspace. Statements narrow those to the ones that bind them.
CREATE POLICY member ON workspace_settings FOR SELECT TO creditdesk_member USING (workspace_id = app_workspace_id());
CREATE POLICY member ON credit_limit FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND (scope <> 'USER' OR scope_id = app_user_id()));
CREATE POLICY member ON balance_kind FOR SELECT TO creditdesk_member USING (workspace_id = app_workspace_id());
CREATE POLICY member ON balance FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND (shared OR scope_id = app_user_id()));
CREATE POLICY member ON hold FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());
CREATE POLICY member ON credit_request FOR SELECT TO creditdesk_member
  USING (workspace_id = app_workspace_id() AND user_id = app_user_id());

-- The audit trail and the rate card are append-only; only a rate that has not come into effect is ever taken back.
GRANT SELECT, INSERT, UPDATE ON workspace_settings, balance, hold, credit_request TO creditdesk_administrator;
GRANT SELECT, INSERT, UPDATE, DELETE ON credit_limit TO creditdesk_administrator;
GRANT SELECT, INSERT ON balance_kind, audit_entry TO creditdesk_administrator;
GRANT SELECT, INSERT, DELETE ON rate, rate_multiplier TO creditdesk_administrator;
GRANT USAGE ON SEQUENCE audit_entry_id_seq TO creditdesk_administrator;
GRANT SELECT ON workspace_settings, credit_limit, balance_kind, balance, hold, credit_request TO creditdesk_member;
REVOKE ALL ON FUNCTION billing_first_day, period_first_day, held_now, held_merged, controls_key, place_holds
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  billing_first_day, period_first_day, held_now, held_merged, controls_key, place_holds
  TO creditdesk_administrator;
GRANT EXECUTE ON FUNCTION held_now TO creditdesk_member;
