"""Documents written to hurt: nested fragments, aliases, directives, lists, and texts that are hardly documents."""

from graphql import DocumentNode, Node, visit
from graphql.language import Visitor
from hypothesis import strategies as st

FIELDS = {
    "Query": ("viewer", "node", "nodes", "workspace", "__typename", "__schema"),
    "Viewer": ("subject", "kind", "workspace", "user", "nothing", "__typename"),
    "Workspace": ("id", "name", "users", "groups", "usage", "__typename"),
    "User": ("id", "homeGroup", "groups", "usage", "budgets"),
}
ARGUMENTS = (
    "",
    "",
    "(first: 1)",
    "(id: 1)",
    "(ids: [1, 2])",
    "(first: $a)",
    '(by: {slug: "x"})',
    "(a: [[], {b: [1]}])",
)
DIRECTIVES = ("", "", "", "@include(if: true)", "@skip(if: $b)", "@a @a", "@a(b: [1, {c: 2}])")
MOST_CHARACTERS = 262_144


def any_document(*, circles: bool = True) -> st.SearchStrategy[str]:
    """Return documents that can be parsed, and mostly are not valid: their fragments call one another as it comes.

    Without `circles`, a fragment spreads only later ones.
    """
    names = [f"f{number}" for number in range(5)]
    fragments = [
        st.builds("fragment {} on {} {}".format, st.just(name), st.sampled_from(sorted(FIELDS)), _selections(after))
        for name, after in ((name, names if circles else names[number + 1 :]) for number, name in enumerate(names))
    ]
    operation = st.builds("query($a: Int = 3, $b: Boolean = true) {}".format, _selections(names))
    return st.builds(
        lambda operations, fragments, most: " ".join([*operations, *fragments[:most]]),
        st.lists(operation, min_size=1, max_size=2),
        st.tuples(*fragments),
        st.integers(0, len(names)),
    )


def _selections(spread: list[str]) -> st.SearchStrategy[str]:
    field = st.builds(
        "{}{} {} {}".format,
        st.sampled_from(["", "", "x: ", "y: "]),
        st.sampled_from([*(name for names in FIELDS.values() for name in names), "fields", "interfaces"]),
        st.sampled_from(ARGUMENTS),
        st.sampled_from(DIRECTIVES),
    )
    leaf = field | st.builds("...{} {}".format, st.sampled_from([*spread, "missing"]), st.sampled_from(DIRECTIVES))
    parents = ["viewer", "x: workspace", "users(first: 2)", "... on Query", "... @include(if: true)", "fields"]

    def within(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.builds(
            "{} {{ {} }}".format, st.sampled_from(parents), st.lists(inner, min_size=1, max_size=3).map(" ".join)
        )

    nested = leaf | within(leaf | within(leaf | within(leaf)))
    return st.lists(nested, min_size=1, max_size=4).map(lambda parts: f"{{ {' '.join(parts)} }}")


def any_text() -> st.SearchStrategy[str]:
    """Return texts of GraphQL's tokens and ignored characters, in any order."""
    pieces = [
        "a", "_b1", " ", "\n", "\r\n", ",", "\ufeff", "#c\n", "#", *"{}()[]:=!|&@$",
        "...", '""', '"x"', '"\\""', '"\\u00e9"', '"""a"""', '"""\\""""""', '""""""', "0", "-1",
        "1.5", "1e9", "-0.0E-1", ".", '"', "\\", "\u00e9",
    ]  # fmt: skip
    return st.lists(st.sampled_from(pieces), max_size=30).map("".join)


def doubling(levels: int) -> str:
    """Return a document that selects 2 to the power of its levels: each fragment spreads the next one twice."""
    chain = [f"fragment f{number} on Viewer {{ ...f{number + 1} ...f{number + 1} }}" for number in range(levels)]
    return " ".join(["{ viewer { ...f0 ...f0 } }", *chain, f"fragment f{levels} on Viewer {{ subject }}"])


def every_node(document: DocumentNode) -> int:
    """Return how many nodes a document has, names aside."""

    class Counter(Visitor):
        nodes = 0

        def enter(self, node: Node, *_: object) -> None:
            self.nodes += node.kind != "name"

    counter = Counter()
    visit(document, counter)
    return counter.nodes
