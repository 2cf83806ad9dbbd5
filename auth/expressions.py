"""JMESPath over a token's claims, compiled at boot, with the few functions that providers' claims need besides."""

from collections.abc import Iterator, Mapping

import jmespath
from jmespath.functions import Functions, signature
from jmespath.parser import ParsedResult


class _ClaimFunctions(Functions):
    @signature({"types": ["string"]})
    def _func_words(self, text: str) -> list[str]:
        """`words('a  b')` is `['a', 'b']`."""
        return text.split()

    @signature({"types": ["array"]}, {"types": ["string"]})
    def _func_beneath(self, entries: list[object], prefix: str) -> list[str]:
        """`beneath(['/m/web', '/x'], '/m/')` is `['web']`."""
        return [one.removeprefix(prefix) for one in entries if isinstance(one, str) and one.startswith(prefix)]

    @signature({"types": ["object"]}, {"types": ["string"]})
    def _func_keys_with(self, found: dict[str, object], key: str) -> list[str]:
        """`keys_with({a: {x: 1}, b: {}}, 'x')` is `['a']`."""
        return [name for name, value in found.items() if isinstance(value, dict) and key in value]


_OPTIONS = jmespath.Options(custom_functions=_ClaimFunctions())


class Expression:
    """A JMESPath expression that is known to be one; its functions exist and get as many arguments as they take."""

    def __init__(self, text: str) -> None:
        try:
            self._parsed: ParsedResult = jmespath.compile(text)
        except (ValueError, TypeError) as error:
            raise ValueError(f"is not a JMESPath expression: {text!r}") from error
        # JMESPath would say so only when a token first reaches the call.
        for name, arguments in _calls(self._parsed.parsed):
            if not _is_known(name, arguments):
                raise ValueError(f"calls {name}() wrongly or it does not exist: {text!r}")

    def search(self, claims: Mapping[str, object]) -> object:
        """Return what is found, or None; whatever the claims hold, this never fails."""
        try:
            found: object = self._parsed.search(claims, _OPTIONS)
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
            # A function met a type that it does not take, such as `keys()` of a string: as if the claim were missing.
            return None
        return found


def _calls(node: object) -> Iterator[tuple[str, int]]:
    if not isinstance(node, dict):
        return
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node.get("children", ()):
        yield from _calls(child)


def _is_known(name: str, arguments: int) -> bool:
    function = _ClaimFunctions.FUNCTION_TABLE.get(name)
    if function is None:
        return False
    expected = function["signature"]
    if expected and expected[-1].get("variadic"):
        return arguments >= len(expected)
    return arguments == len(expected)
