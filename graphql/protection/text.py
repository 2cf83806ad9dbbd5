"""What is looked at before the parser: its time grows with the characters, the lines and the tokens of a text.

Counting needs no more than the first `tokens` matches of one regular expression, whatever the text is.
"""

import re

from creditdesk.graphql.protection.limits import DocumentLimits, QueryTooComplexError, exceeded

# Possessive throughout (`++`, `*+`), so that nothing is looked at twice. What is no token of GraphQL counts as one for
# each character: the parser says what is wrong with it. Comments count, since the parser makes tokens of them.
_TOKEN = re.compile(
    r"""
    [A-Za-z_][A-Za-z_0-9]*+
    | -?[0-9]++ (?:\.[0-9]++)?+ (?:[eE][+-]?[0-9]++)?+
    | \"{3} (?: [^"\\]++ | \\"{3} | \\ | "(?!"") )*+ (?:\"{3})?
    | " (?: [^"\\\n\r]++ | \\. )*+ "?
    | \.{3}
    | \#[^\n\r]*+
    | [^\s,\ufeff]
    """,
    re.VERBOSE | re.ASCII,
)


def check_text(text: str, limits: DocumentLimits) -> None:
    """Raise QueryTooComplexError for a text that would take the parser long."""
    if len(text) > limits.characters:
        raise exceeded("characters", limits.characters)
    if text.count("\n") + text.count("\r") > limits.lines:
        raise exceeded("lines", limits.lines)
    if has_more_tokens(text, limits.tokens):
        raise exceeded("tokens", limits.tokens)


def has_more_tokens(text: str, most: int) -> bool:
    """Tell whether a text has more than so many tokens, comments among them."""
    return any(number >= most for number, _ in enumerate(_TOKEN.finditer(text)))


def check_variables(variables: object, limits: DocumentLimits) -> None:
    """Raise QueryTooComplexError if a list or an object in the variables has too many items: before each is read."""
    # Without recursion: JSON may be nested more deeply than Python calls may.
    waiting: list[object] = [variables]
    while waiting:
        value = waiting.pop()
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if len(items) > limits.list_items:
            raise QueryTooComplexError(f"The variables have too long a list: {limits.list_items} items at most.")
        waiting += [item for item in items if isinstance(item, dict | list)]
