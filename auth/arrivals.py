"""What is to be done when somebody comes: linking or making the user who is new, and following the token's groups."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from creditdesk.auth.claims import ClaimReader, Claims
from creditdesk.auth.errors import Unauthenticated
from creditdesk.auth.principal import Principal, PrincipalKind
from creditdesk.auth.tokens import MOST_TOKEN_BYTES
from creditdesk.credits.directory import FirstSignIn, GroupClaims, SignIn
from creditdesk.credits.newcomers import Newcomer, follow_groups, groups_hash, join
from creditdesk.db.connections import Database

_NOT_KNOWN = "You are not known in this workspace. Its administrators can link you."


async def arrive(database: Database, claims: Claims, principal: Principal, signed_in: SignIn) -> bool:
    """Do what is due for a person, and tell whether anything was changed; raise `Unauthenticated` for who is refused.

    Programs have no user, and whoever has no role has nothing to do here: neither is ever linked or made one.
    """
    if principal.kind is not PrincipalKind.PERSON or not principal.permissions:
        return False
    workspace_id, now = signed_in.workspace.id, datetime.now(UTC)
    if principal.user_id is None:
        if signed_in.first_sign_in is FirstSignIn.ADMIT:
            return False
        newcomer = Newcomer(
            issuer=principal.issuer,
            subject=principal.subject,
            verified_email=claims.email if claims.is_email_verified else None,
            display_name=claims.display_name,
        )
        if not await join(database, workspace_id, newcomer, signed_in.first_sign_in, now=now):
            raise Unauthenticated("the person is linked to no user", _NOT_KNOWN)
        return True
    policy, slugs = signed_in.group_claims, claims.group_slugs
    if policy is GroupClaims.OFF or slugs is None or groups_hash(policy, slugs) == signed_in.groups_hash:
        return False
    identity = (principal.issuer, principal.subject)
    await follow_groups(
        database, workspace_id, principal.user_id, identity=identity, policy=policy, slugs=slugs, now=now
    )
    return True


def named_workspace(presented: str, readers: Mapping[str, ClaimReader]) -> str | None:
    """Return the workspace that a token names which was refused: what anybody may have written, and nothing more."""
    parts = presented.split(".")
    if len(parts) != 3 or len(presented) > MOST_TOKEN_BYTES:  # noqa: PLR2004 - header, payload and signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return readers[claims["iss"]].read(claims).workspace_slug
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError, Unauthenticated):
        return None
