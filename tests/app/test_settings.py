import json
from pathlib import Path

import pytest

from creditdesk.app.settings import SETTINGS, Settings, SettingsError, handed_down, load_settings
from creditdesk.auth.roles import Role

SECRET = "hush-hush"
KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
SIGNING_IN = {
    "CREDITDESK_PUBLIC_URL": "https://Credits.example.com:443/",
    "CREDITDESK_SIGN_IN_CLIENT_ID": "creditdesk",
    "CREDITDESK_SIGN_IN_CLIENT_SECRET": SECRET,
    "CREDITDESK_SIGN_IN_PARAMETERS": '{"audience": "urn:a"}',
    "CREDITDESK_SESSION_KEYS": f"{KEY}, {KEY}",
    "CREDITDESK_CORS_ORIGINS": "https://console.example.com, http://localhost:5173",
}
SERVING = {"CREDITDESK_OIDC_ISSUER": "https://issuer.example", "CREDITDESK_OIDC_AUDIENCE": "urn:a, urn:b"}


def refusal(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(variables)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_without_any_variable_the_defaults_are_those_of_the_table() -> None:
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.data_directory == Path(".creditdesk")
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.oidc_algorithms == ("RS256", "ES256")
    assert settings.role_map == {role.value: role for role in Role}
    assert settings.max_body_bytes == 4 * 1024 * 1024
    for setting in SETTINGS:
        if setting.default is not None:
            assert load_settings({setting.variable: setting.default}) == settings, setting


def test_every_field_is_a_setting_with_a_variable_and_a_sentence() -> None:
    assert len(SETTINGS) == len(Settings.model_fields)
    assert len({setting.variable for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.description for setting in SETTINGS)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://u:p@h/d"),
        ("DATABASE_URL", "host=h password=p"),
        ("CREDITDESK_OWNER_DATABASE_URL", "postgresql://u:%ZZ@h/d"),
        ("CREDITDESK_PORT", "eighty"),
        ("CREDITDESK_PORT", "65536"),
        ("CREDITDESK_WORKERS", "0"),
        ("CREDITDESK_OIDC_ISSUER", "http://issuer.example"),
        ("CREDITDESK_OIDC_ALGORITHMS", "RS256,HS256"),
        ("CREDITDESK_OIDC_ALGORITHMS", "none"),
        ("CREDITDESK_OIDC_ALGORITHMS", ","),
        ("CREDITDESK_OIDC_LEEWAY_SECONDS", "-1"),
        ("CREDITDESK_CLAIM_SUBJECT", "sub |"),
        ("CREDITDESK_CLAIM_WORKSPACE", "a b"),
        ("CREDITDESK_CLAIM_ROLES", "no_such_function(@)"),
        ("CREDITDESK_CLAIM_SCOPES", "["),
        ("CREDITDESK_CLAIM_MANAGED_GROUPS", "contains(a)"),
        ("CREDITDESK_CLAIM_SERVICE", "'"),
        ("CREDITDESK_ROLE_MAP", "boss=OWNER"),
        ("CREDITDESK_ROLE_MAP", '{"boss": "EMPEROR"}'),
        ("CREDITDESK_ROLE_MAP", '{"boss": ["OWNER"]}'),
        ("CREDITDESK_MAX_CONNECTIONS", "0"),
        ("CREDITDESK_STATEMENT_TIMEOUT_SECONDS", "15s"),
        ("CREDITDESK_MAX_BODY_BYTES", "4MB"),
        ("CREDITDESK_DOCUMENTS", "none"),
        ("CREDITDESK_GRAPHIQL", "yes"),
        ("CREDITDESK_SHUTDOWN_SECONDS", "0"),
        ("CREDITDESK_LOG_LEVEL", "loud"),
        ("CREDITDESK_LOG_FORMAT", "xml"),
        ("CREDITDESK_PUBLIC_URL", "http://credits.example.com"),
        ("CREDITDESK_PUBLIC_URL", "https://credits.example.com/console"),
        ("CREDITDESK_PUBLIC_URL", "https://ana@credits.example.com"),
        ("CREDITDESK_PUBLIC_URL", "credits.example.com"),
        ("CREDITDESK_CORS_ORIGINS", "*"),
        ("CREDITDESK_CORS_ORIGINS", "https://*.example.com,null"),
        ("CREDITDESK_CORS_ORIGINS", "https://console.example.com/"),
        ("CREDITDESK_CORS_ORIGINS", "https://console.example.com:443"),
        ("CREDITDESK_CORS_ORIGINS", "https://Console.example.com"),
        ("CREDITDESK_CORS_ORIGINS", "http://console.example.com"),
        ("CREDITDESK_SIGN_IN_PARAMETERS", "audience=x"),
        ("CREDITDESK_SIGN_IN_PARAMETERS", '{"max_age": 5}'),
        ("CREDITDESK_SESSION_KEYS", SECRET),
        ("CREDITDESK_SESSION_KEYS", f"{KEY},"),
        ("CREDITDESK_SESSION_IDLE_SECONDS", "59"),
        ("CREDITDESK_SESSION_RENEWAL_SECONDS", "0"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(variable: str, value: str) -> None:
    assert refusal(**{variable: value}).startswith(f"{variable}: ")


def test_every_bad_variable_is_named_at_once() -> None:
    message = refusal(CREDITDESK_PORT="x", CREDITDESK_WORKERS="y")
    assert "CREDITDESK_PORT: " in message
    assert "CREDITDESK_WORKERS: " in message


def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant() -> None:
    assert refusal(CREDITDESK_PROT="1") == "CREDITDESK_PROT: there is no such setting (did you mean CREDITDESK_PORT?)."


@pytest.mark.parametrize(
    "url", [f"mysql://u:{SECRET}@h/d", f"postgresql://u:{SECRET}%ZZ@h/d", f"password={SECRET} nonsense"]
)
def test_a_refused_database_url_is_never_quoted(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"DATABASE_URL": url})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_refused_session_key_is_never_quoted() -> None:
    assert SECRET not in refusal(CREDITDESK_SESSION_KEYS=f"{KEY},{SECRET}")


def test_sign_in_is_what_the_settings_say() -> None:
    settings = load_settings(SERVING | SIGNING_IN)
    assert settings.public_url == "https://credits.example.com"
    assert settings.origins.allowed == {"https://console.example.com", "http://localhost:5173"}
    registration = settings.registration()
    assert registration is not None
    assert (registration.issuer, registration.client_id, registration.client_secret) == (
        "https://issuer.example",
        "creditdesk",
        SECRET,
    )
    assert registration.parameters == {"audience": "urn:a"}
    assert settings.sealer().open(settings.sealer().seal({"a": 1}, purpose="x"), purpose="x") == {"a": 1}
    for shown in (repr(settings), str(settings), repr(registration)):
        assert SECRET not in shown
        assert KEY not in shown


def test_browsers_sign_in_at_one_of_several_issuers_which_is_named() -> None:
    issuers = {
        name: {"issuer": f"https://{name}.example", "audience": "urn:a", "workspaces": [name]}
        for name in ("one", "two")
    }
    several = SIGNING_IN | {"CREDITDESK_ISSUERS": json.dumps(issuers)}
    for named in ("two", "https://two.example"):
        registration = load_settings(several | {"CREDITDESK_SIGN_IN_ISSUER": named}).registration()
        assert registration is not None
        assert registration.issuer == "https://two.example"
    for missing in ({}, {"CREDITDESK_SIGN_IN_ISSUER": "three"}):
        with pytest.raises(SettingsError, match="CREDITDESK_SIGN_IN_ISSUER"):
            load_settings(several | missing).registration()


@pytest.mark.parametrize("missing", ["CREDITDESK_PUBLIC_URL", "CREDITDESK_SESSION_KEYS"])
def test_sign_in_needs_an_address_and_keys(missing: str) -> None:
    given = {name: value for name, value in (SERVING | SIGNING_IN).items() if name != missing}
    assert refusal(**given) == f"{missing}: is not set, and browsers cannot sign in."


def test_without_a_client_browsers_do_not_sign_in() -> None:
    assert load_settings(SERVING).registration() is None


def test_the_settings_do_not_show_their_secrets() -> None:
    settings = load_settings({"DATABASE_URL": f"postgresql://u:{SECRET}@h/d"})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"DATABASE_URL": "", "CREDITDESK_PORT": " "}) == load_settings({})


def test_other_programs_variables_are_not_ours_to_judge() -> None:
    assert load_settings({"PORT": "x", "HOME": "/root"}) == load_settings({})


def test_a_list_is_separated_by_commas() -> None:
    assert load_settings(SERVING).oidc_audience == ("urn:a", "urn:b")


def test_the_role_map_leads_from_their_names_to_our_roles() -> None:
    assert load_settings({"CREDITDESK_ROLE_MAP": '{"credit-admins": "ADMIN"}'}).role_map == {
        "credit-admins": Role.ADMIN
    }


@pytest.mark.parametrize("missing", sorted(SERVING))
def test_an_issuer_needs_its_address_and_an_audience(missing: str) -> None:
    settings = load_settings({name: value for name, value in SERVING.items() if name != missing})
    with pytest.raises(SettingsError, match=missing):
        settings.issuers()


def test_the_issuer_is_what_the_settings_say() -> None:
    [issuer] = load_settings(
        SERVING | {"CREDITDESK_OIDC_ALGORITHMS": "ES256", "CREDITDESK_OIDC_LEEWAY_SECONDS": "5"}
    ).issuers()
    assert (issuer.url, issuer.audiences) == ("https://issuer.example", frozenset({"urn:a", "urn:b"}))
    assert (issuer.algorithms, issuer.leeway) == (frozenset({"ES256"}), 5)


def test_settings_handed_down_to_workers_are_read_as_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITDESK_PORT", "9999")
    settings = load_settings(
        SERVING
        | {"DATABASE_URL": f"postgresql://u:{SECRET}@h/d", "CREDITDESK_ROLE_MAP": '{"boss": "OWNER"}'}
        | {"CREDITDESK_CLAIM_ROLES": "realm_access.roles"}
        | SIGNING_IN
    )
    with handed_down(settings):
        assert load_settings() == settings
    assert load_settings({"CREDITDESK_PORT": "9999"}) == load_settings()
