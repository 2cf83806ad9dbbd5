"""The demo issuer's keys: generated at start, or kept in a directory so that tokens survive a restart."""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

FILE_NAME = "issuer-keys.json"
GENERATIONS = 2  # the keys that sign, and those before them, which still verify


class SigningKeys:
    """An RSA and an EC key to sign with, and the previous pair, still published."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._pairs: list[tuple[RSAKey, ECKey]] = []
        if file is not None and file.exists():
            self._pairs = _read(file)
        else:
            self.rotate()

    @classmethod
    def kept_in(cls, directory: Path) -> Self:
        """Return the keys of this directory, made now if it has none; only this user may read them."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(directory / FILE_NAME)

    def rotate(self) -> None:
        """Sign with new keys from now on; the previous ones stay published, those before them are withdrawn."""
        generation = secrets.token_hex(4)
        rsa = RSAKey.generate_key(2048, {"kid": f"rsa-{generation}", "use": "sig", "alg": "RS256"})
        ec = ECKey.generate_key("P-256", {"kid": f"ec-{generation}", "use": "sig", "alg": "ES256"})
        self._pairs = [(rsa, ec), *self._pairs][:GENERATIONS]
        if self._file is not None:
            _write(self._file, self._pairs)

    def signing_key(self, algorithm: str) -> RSAKey | ECKey:
        """Return the current key for RS256 or ES256."""
        return next(key for key in self._pairs[0] if key.alg == algorithm)

    def published(self) -> dict[str, Any]:
        """Return the JSON Web Key Set: public parts only."""
        return {"keys": [key.as_dict(private=False) for pair in self._pairs for key in pair]}


def _read(file: Path) -> list[tuple[RSAKey, ECKey]]:
    file.chmod(0o600)
    try:
        pairs = [(RSAKey.import_key(rsa), ECKey.import_key(ec)) for rsa, ec in json.loads(file.read_bytes())]
    except (JoseError, ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{file} does not hold the demo issuer's keys. Remove it to have new ones made.") from error
    if not pairs:
        raise ValueError(f"{file} holds no keys. Remove it to have new ones made.")
    return pairs


def _write(file: Path, pairs: list[tuple[RSAKey, ECKey]]) -> None:
    # Written aside and renamed: a reader sees the old keys or the new ones, and never a file that others may read.
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump([[key.as_dict(private=True) for key in pair] for pair in pairs], out)
    aside.replace(file)
