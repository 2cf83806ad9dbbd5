"""Sealing: only we can read or make it, it is for one purpose, and keys can be changed."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OctKey

from creditdesk.auth.sealing import Sealer, key_from

OLD, NEW = b"o" * 32, b"n" * 32
CONTENT = {"access_token": "eyJ", "refresh_token": None, "nested": {"a": [1, "ü"]}}


def test_what_is_sealed_is_opened_for_the_same_purpose_and_for_no_other() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(CONTENT, purpose="tokens of 1")
    assert sealer.open(sealed, purpose="tokens of 1") == CONTENT
    assert sealer.open(sealed, purpose="tokens of 2") is None


def test_the_same_content_is_sealed_differently_each_time_and_shows_nothing_of_itself() -> None:
    sealed = [Sealer([NEW]).seal({"token": "a-secret"}, purpose="x") for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert all(b"a-secret" not in base64.urlsafe_b64decode(f"{part}===") for part in sealed[0].split("."))


def test_the_first_key_seals_and_all_open() -> None:
    old, both, new = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    assert both.open(old.seal(CONTENT, purpose="x"), purpose="x") == CONTENT
    assert new.open(both.seal(CONTENT, purpose="x"), purpose="x") == CONTENT
    assert new.open(old.seal(CONTENT, purpose="x"), purpose="x") is None
    assert old.open(both.seal(CONTENT, purpose="x"), purpose="x") is None


@given(position=st.integers(0, 10_000), character=st.sampled_from("AZaz09-_.=! \x00é"))
def test_whatever_is_changed_in_it_it_is_not_opened(position: int, character: str) -> None:
    sealed = _SEALED
    at = position % len(sealed)
    changed = sealed[:at] + character + sealed[at + 1 :]
    if _decoded(changed) != _decoded(sealed):
        assert _SEALER.open(changed, purpose="x") is None


@given(st.text())
def test_anything_else_is_not_opened(text: str) -> None:
    assert _SEALER.open(text, purpose="x") is None


def test_other_algorithms_are_not_opened_even_with_the_right_key() -> None:
    kid = json.loads(base64.urlsafe_b64decode(_SEALED.split(".")[0] + "=="))["kid"]
    plaintext = json.dumps({"for": "x", "content": CONTENT}).encode()
    for header in ({"alg": "A256KW", "enc": "A256GCM"}, {"alg": "dir", "enc": "A128CBC-HS256"}):
        forged = jwe.encrypt_compact(
            {**header, "kid": kid}, plaintext, OctKey.import_key(NEW), algorithms=list(header.values())
        )
        assert _SEALER.open(forged, purpose="x") is None


@pytest.mark.parametrize("keys", [[], [b""], [b"x" * 31], [NEW, b"x" * 33]])
def test_a_key_has_32_bytes(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(keys)


def test_a_key_is_written_in_base64_or_base64url() -> None:
    key = bytes(range(224, 256))
    for text in (base64.b64encode(key), base64.urlsafe_b64encode(key), base64.urlsafe_b64encode(key).rstrip(b"=")):
        assert key_from(f" {text.decode()} ") == key


@pytest.mark.parametrize("text", ["", "hush-hush", "é" * 43, base64.b64encode(b"x" * 31).decode(), "A" * 43 + "!"])
def test_what_is_no_key_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^each key is 32 random bytes in base64$"):
        key_from(text)


def _decoded(sealed: str) -> list[bytes] | None:
    """Return what the parts stand for: the last character of one has bits that mean nothing."""
    try:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in sealed.split(".")]
    except ValueError:
        return None


_SEALER = Sealer([NEW])
_SEALED = _SEALER.seal(CONTENT, purpose="x")
