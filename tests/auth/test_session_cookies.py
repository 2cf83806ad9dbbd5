"""The cookie of a signed-in browser: what is read from requests, and what is sent."""

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.auth.session_cookies import Cookie, ShownSession, new_secret, shown_session
from creditdesk.credits.sessions import SessionKey

KEY = SessionKey(UUID(int=1), UUID(int=2))
SECURE, PLAIN = Cookie.named("creditdesk", secure=True), Cookie.named("creditdesk", secure=False)


def test_a_cookie_s_value_is_read_as_it_was_written() -> None:
    shown = ShownSession(KEY, bytes(range(32)))
    assert shown_session(shown.text()) == shown
    assert shown.secret_hash == hashlib.sha256(bytes(range(32))).digest()
    assert len(shown.text()) == 86


def test_a_secret_is_new_each_time_and_is_not_shown_by_accident() -> None:
    one, other = new_secret(KEY), new_secret(KEY)
    assert one.secret != other.secret
    assert len(one.secret) == 32
    assert repr(one) == f"ShownSession(key={KEY!r})"


@given(st.text() | st.binary().map(lambda value: value.decode("latin-1")))
def test_anything_else_is_no_session(text: str) -> None:
    assert shown_session(text) is None


@pytest.mark.parametrize("text", ["", "A" * 85, "A" * 87, "!" * 86, "=" * 86, "é" * 86, " " + "A" * 85])
def test_what_is_nearly_a_session_is_none(text: str) -> None:
    assert shown_session(text) is None


def test_over_https_the_name_keeps_other_hosts_from_setting_it() -> None:
    assert SECURE.set("v") == (b"set-cookie", b"__Host-creditdesk=v; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert PLAIN.set("v", seconds=60) == (b"set-cookie", b"creditdesk=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")
    assert PLAIN.delete() == (b"set-cookie", b"creditdesk=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        (["__Host-creditdesk=a"], "a"),
        (["x=1; __Host-creditdesk=a;y=2"], "a"),
        (["x=1", "__Host-creditdesk=a"], "a"),
        (["__Host-creditdesk=a; __Host-creditdesk=a"], "a"),
        (["__Host-creditdesk=a; __Host-creditdesk=b"], None),
        (["__Host-creditdesk=a", "__Host-creditdesk=b"], None),
        (["creditdesk=a"], None),
        (["x__Host-creditdesk=a"], None),
        (["__host-creditdesk=a"], None),
        (["{strange}=\xff; __Host-creditdesk=a"], "a"),
        (['__Host-creditdesk="a"'], "a"),
        (["__Host-creditdesk"], None),
        ([], None),
    ],
)
def test_the_value_is_found_among_other_cookies_and_two_that_differ_are_none(
    headers: list[str], value: str | None
) -> None:
    assert SECURE.read(headers) == value
