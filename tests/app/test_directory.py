"""`creditdesk directory` puts a workspace and its people in place, and putting them there again changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from creditdesk.app.directory import read_directory
from creditdesk.app.failures import CommandFailed
from support.databases import FreshDatabase
from support.processes import creditdesk

ANA = {
    "displayName": "Ana Ávila",
    "email": "Ana@Example.com",
    "externalId": "e-1",
    "homeGroup": "web",
    "groups": ["web", "ml"],
    "identities": [{"issuer": "https://id.example.com", "subject": "ana"}],
}
GATEWAY = {"displayName": "Gateway", "externalId": "svc-1", "kind": "SERVICE_ACCOUNT"}
FILE: dict[str, Any] = {
    "workspace": {"slug": "initech", "name": "Initech", "zone": "Asia/Kolkata"},
    "groups": [{"slug": "web", "name": "Web"}, {"slug": "ml", "name": "Machine Learning"}],
    "users": [ANA, GATEWAY],
}

Put = Callable[..., Any]


@pytest.fixture
def put(fresh_database: FreshDatabase, tmp_path: Path) -> Put:
    def put_file(content: object, *options: str) -> Any:
        file = tmp_path / "directory.json"
        file.write_text(json.dumps(content))
        return creditdesk("directory", str(file), *options, DATABASE_URL=fresh_database.server_dsn)

    return put_file


def stored(database: FreshDatabase) -> list[tuple[object, ...]]:
    with psycopg.connect(database.owner_dsn) as connection:
        return connection.execute(
            "SELECT w.slug, w.zone, u.display_name, u.sort_name, u.email, u.external_id, u.kind, u.active, h.slug,"
            " ARRAY(SELECT g.slug FROM group_member m JOIN user_group g ON g.id = m.group_id WHERE m.user_id = u.id"
            " ORDER BY 1), ARRAY(SELECT i.subject FROM user_identity i WHERE i.user_id = u.id)"
            " FROM app_user u JOIN workspace w ON w.id = u.workspace_id"
            " LEFT JOIN user_group h ON h.id = u.home_group_id ORDER BY u.sort_name"
        ).fetchall()


def test_a_directory_is_put_in_place_and_again_changes_nothing(fresh_database: FreshDatabase, put: Put) -> None:
    first = put(FILE)
    assert (first.returncode, first.stdout) == (
        0,
        (
            "initech: 2 groups and 2 users are in place: 2 groups made and 0 renamed, 2 users made, 0 changed and 0"
            " deactivated, 1 identities linked\n"
        ),
    )
    expected = [
        ("initech", "Asia/Kolkata", "Ana Ávila", "ana avila", "ana@example.com", "e-1", "PERSON", True, "web",
         ["ml", "web"], ["ana"]),
        ("initech", "Asia/Kolkata", "Gateway", "gateway", None, "svc-1", "SERVICE_ACCOUNT", True, None, [], []),
    ]  # fmt: skip
    assert stored(fresh_database) == expected
    again = put(FILE)
    assert again.stdout.endswith(
        ": 0 groups made and 0 renamed, 0 users made, 0 changed and 0 deactivated, 0 identities linked\n"
    )
    assert stored(fresh_database) == expected


def test_a_user_is_known_by_the_external_id_and_else_by_the_address(fresh_database: FreshDatabase, put: Put) -> None:
    assert put(FILE).returncode == 0
    moved = ANA | {"email": "ana.avila@example.com", "groups": ["ml"], "homeGroup": "ml", "active": False}
    assert put(FILE | {"groups": [], "users": [moved]}).returncode == 0
    rows = stored(fresh_database)
    assert [row[4:10] for row in rows if row[5] == "e-1"] == [
        ("ana.avila@example.com", "e-1", "PERSON", False, "ml", ["ml"])
    ]
    assert len(rows) == 2
    newcomer = {"displayName": "Ana", "email": "ANA.avila@example.com"}
    assert put(FILE | {"groups": [], "users": [newcomer]}).returncode == 0
    assert len(stored(fresh_database)) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILE | {"users": [{"displayName": "Nobody"}]}, "Nobody has neither an e-mail address nor an external id"),
        (FILE | {"users": [ANA | {"groups": ["sales"]}]}, "There is no group sales"),
        (FILE | {"users": [ANA, ANA | {"externalId": "e-2"}]}, "Two share one e-mail address"),
        (FILE | {"workspace": {"slug": "initech", "name": "Initech", "zone": "Mars/Olympus"}}, "not an IANA time zone"),
    ],
)
def test_a_directory_that_does_not_fit_changes_nothing(
    fresh_database: FreshDatabase, put: Put, content: object, said: str
) -> None:
    refused = put(content)
    assert refused.returncode == 1
    assert said in refused.stderr
    with psycopg.connect(fresh_database.owner_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM workspace").fetchone() == (0,)


def test_the_zone_of_a_workspace_does_not_change(fresh_database: FreshDatabase, put: Put) -> None:
    assert put(FILE).returncode == 0
    before = stored(fresh_database)
    refused = put(FILE | {"workspace": FILE["workspace"] | {"zone": "UTC"}})
    assert refused.returncode == 1
    assert "keeps its slug and its zone" in refused.stderr
    assert stored(fresh_database) == before


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"{", "the file"),
        (b"5", "the file"),
        (b"{}", "workspace"),
        (json.dumps(FILE | {"user": []}).encode(), "user"),
        (json.dumps(FILE | {"users": [ANA | {"displayName": "A\x00"}]}).encode(), "users.0.displayName"),
        (json.dumps(FILE | {"users": [ANA | {"active": "yes"}]}).encode(), "users.0.active"),
        (json.dumps(FILE | {"groups": [{"slug": "Web Team", "name": "Web"}]}).encode(), "groups.0.slug"),
        (b'{"workspace": "\xff"}', "the file"),
    ],
)
def test_a_file_that_is_off_says_where(content: bytes, where: str) -> None:
    with pytest.raises(CommandFailed) as refused:
        read_directory(content)
    assert str(refused.value).startswith(f"{where}: ")


def test_who_is_missing_from_the_file_is_deactivated_only_where_that_is_asked_for(
    fresh_database: FreshDatabase, put: Put
) -> None:
    assert put(FILE).returncode == 0
    alone = FILE | {"users": [{"displayName": "Ben", "email": "ben@example.com"}]}
    preview = put(alone, "--deactivate-missing", "--dry-run")
    assert (preview.returncode, preview.stdout) == (
        0,
        (
            "initech: a dry run: 0 groups made and 0 renamed, 1 users made, 0 changed and 1 deactivated, 0 identities"
            " linked\n"
        ),
    )
    assert [row[2] for row in stored(fresh_database)] == ["Ana Ávila", "Gateway"]
    assert put(alone).returncode == 0
    assert [(row[2], row[7]) for row in stored(fresh_database)] == [
        ("Ana Ávila", True),
        ("Ben", True),
        ("Gateway", True),
    ]
    assert put(alone, "--deactivate-missing").returncode == 0
    # A program is nobody who could be missing.
    assert [(row[2], row[7]) for row in stored(fresh_database)] == [
        ("Ana Ávila", False), ("Ben", True), ("Gateway", True)
    ]  # fmt: skip


def test_a_dry_run_makes_no_workspace(fresh_database: FreshDatabase, put: Put) -> None:
    assert put(FILE, "--dry-run").returncode == 0
    with psycopg.connect(fresh_database.owner_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM workspace").fetchone() == (0,)


def test_the_first_owner_comes_in_by_the_policy_that_the_file_sets(fresh_database: FreshDatabase, put: Put) -> None:
    workspace = FILE["workspace"] | {"firstSignIn": "LINK", "groupClaims": "MIRROR"}
    for content in (FILE | {"workspace": workspace}, FILE):  # what a file does not say stays
        assert put(content).returncode == 0
        with psycopg.connect(fresh_database.owner_dsn) as connection:
            settings = connection.execute("SELECT first_sign_in, group_claims FROM workspace_settings").fetchall()
        assert settings == [("LINK", "MIRROR")]
