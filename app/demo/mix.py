"""What the demo's people use: products, models, their prices, and how much of which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A typical use of a model through a product; prices are whole micro-credits for a token."""

    product: str
    model: str
    input_tokens: int
    cached_percent: int
    output_tokens: int
    input_price: int
    cached_price: int
    output_price: int


_CHAT_MINI = ModelUse("chat", "atlas-1-mini", 900, 20, 250, 60, 6, 240)
_CHAT = ModelUse("chat", "atlas-1", 1_600, 30, 450, 300, 30, 1_200)
_CHAT_LARGE = ModelUse("chat", "atlas-2", 2_400, 35, 700, 500, 50, 2_500)
_PICTURES = ModelUse("chat", "lumen-1", 400, 0, 1_300, 400, 40, 2_000)
_PICTURES_MINI = ModelUse("chat", "lumen-1-mini", 400, 0, 900, 100, 10, 600)
_CODE_MINI = ModelUse("code", "forge-1-mini", 2_500, 50, 180, 60, 6, 240)
_CODE = ModelUse("code", "forge-1", 6_000, 65, 600, 300, 30, 1_500)
_CODE_LARGE = ModelUse("code", "forge-2", 9_000, 70, 1_100, 500, 50, 2_500)
_AGENT = ModelUse("agents", "pilot-1", 14_000, 75, 1_500, 200, 20, 1_000)
_AGENT_LARGE = ModelUse("agents", "pilot-2", 22_000, 80, 2_600, 350, 35, 1_750)
_API = ModelUse("api", "atlas-1", 3_000, 40, 500, 300, 30, 1_200)
_API_MINI = ModelUse("api", "atlas-1-mini", 2_000, 40, 300, 60, 6, 240)
_EMBEDDING = ModelUse("api", "vector-1", 4_000, 0, 0, 20, 2, 0)
_SPEECH = ModelUse("api", "echo-1", 1_200, 0, 400, 120, 12, 480)

MODELS = (
    _CHAT_MINI, _CHAT, _CHAT_LARGE, _PICTURES, _PICTURES_MINI, _CODE_MINI, _CODE, _CODE_LARGE, _AGENT, _AGENT_LARGE,
    _API, _API_MINI, _EMBEDDING, _SPEECH,
)  # fmt: skip
"""Everything that is used, with its prices."""

LOOP = ModelUse("agents", "pilot-2", 60_000, 55, 6_000, 350, 35, 1_750)
"""One round of an agent that answers itself."""


def _repeated(*shares: tuple[ModelUse, int]) -> Sequence[ModelUse]:
    """Return each use as often as its share: an index into this is a weighted choice."""
    return tuple(use for use, share in shares for _ in range(share))


_BUILDERS = _repeated(
    (_CODE_MINI, 16), (_CODE, 26), (_CODE_LARGE, 9), (_CHAT_MINI, 10), (_CHAT, 16), (_CHAT_LARGE, 5), (_AGENT, 9),
    (_AGENT_LARGE, 3), (_API, 3), (_API_MINI, 3),
)  # fmt: skip
_SCIENTISTS = _repeated(
    (_CODE, 14), (_CODE_LARGE, 8), (_CHAT, 20), (_CHAT_LARGE, 22), (_AGENT, 8), (_AGENT_LARGE, 6), (_API, 10),
    (_EMBEDDING, 12),
)  # fmt: skip
_MAKERS = _repeated(
    (_CHAT_MINI, 14), (_CHAT, 34), (_CHAT_LARGE, 10), (_PICTURES, 20), (_PICTURES_MINI, 18), (_AGENT, 4)
)
_OFFICE = _repeated(
    (_CHAT_MINI, 34), (_CHAT, 42), (_CHAT_LARGE, 12), (_PICTURES_MINI, 3), (_AGENT, 7), (_AGENT_LARGE, 2)
)
_CALLERS = _repeated((_CHAT_MINI, 40), (_CHAT, 30), (_SPEECH, 20), (_AGENT, 10))

SERVICES = _repeated((_API, 30), (_API_MINI, 34), (_EMBEDDING, 22), (_SPEECH, 6), (_AGENT, 8))
"""What a service account uses."""

_BY_GROUP: Mapping[str, Sequence[ModelUse]] = MappingProxyType(
    {
        "engineering": _BUILDERS,
        "platform": _BUILDERS,
        "security": _BUILDERS,
        "research": _SCIENTISTS,
        "data": _SCIENTISTS,
        "product": _MAKERS,
        "design": _MAKERS,
        "marketing": _MAKERS,
        "support": _CALLERS,
        "bookings": _CALLERS,
    }
)


def uses_of(group_slug: str | None) -> Sequence[ModelUse]:
    """Return what the people of a group use, each as often as its share."""
    return _BY_GROUP.get(group_slug or "", _OFFICE)


def _sizes() -> Sequence[int]:
    rng = Random("sizes")  # noqa: S311 - a demo's dice, not a secret
    return tuple(max(8, round(64 * rng.lognormvariate(-0.3, 0.8))) for _ in range(1024))


SIZES = _sizes()
"""How large a use is, in 64ths of the typical one: a table is ten times as fast as a log-normal number each."""

PROJECTS: Sequence[Mapping[str, str]] = tuple(
    MappingProxyType({"project": name}) for name in ("harbour", "orchid", "quarry", "lantern", "meadow", "compass")
)

# A weekday's use by local hour, and a working week by day, Monday first.
HOURS = (1, 1, 1, 1, 1, 2, 5, 16, 52, 88, 100, 92, 60, 78, 96, 92, 80, 56, 30, 18, 14, 10, 6, 3)
WEEKDAYS = (1.30, 1.36, 1.34, 1.32, 1.08, 0.28, 0.32)
