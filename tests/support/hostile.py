"""Documents written to hurt: nested fragments, aliases, directives, lists, and texts that are hardly documents."""

import json

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


class Body(bytes):
    """A body, of which only the ends are shown where it is found to hurt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes: {bytes(self[:1500])!r} ... {bytes(self[-300:])!r}>"


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


PAGES = ("", "(first: 2)", "(last: 3)", "(first: $n)", "(first: null, last: $n)", "(first: 7, after: null)")
SPREADABLE = ("Workspace", "User", "Group", "UserConnection", "GroupConnection")


def any_priced_document() -> st.SearchStrategy[str]:
    """Return documents that fit the schema but for fragments and variables that are not used, with pages in pages."""
    names = {type_name: [f"{type_name}{number}" for number in range(2)] for type_name in SPREADABLE}
    order = [name for number in range(2) for name in (f"{type_name}{number}" for type_name in SPREADABLE)]
    fragments = []
    for place, name in enumerate(order):
        later = {of: [one for one in ones if order.index(one) > place] for of, ones in names.items()}
        body = _priced(name[:-1], later, 2)
        fragments.append(st.builds("fragment {} on {} {{ {} }}".format, st.just(name), st.just(name[:-1]), body))
    root = st.builds("viewer {{ workspace {{ {} }} }} nodes(ids: $ids) {{ id }}".format, _priced("Workspace", names, 3))
    written = st.builds("query($n: Int, $ids: [ID!]!) {{ {} }} {}".format, root, st.tuples(*fragments).map(" ".join))
    return written.map(_with_aliases)


def _priced(type_name: str, spread: dict[str, list[str]], levels: int) -> st.SearchStrategy[str]:
    leaf = "totalCount" if type_name.endswith("Connection") else "id"
    choices = [st.just(leaf), st.just(f"... on {type_name} {{ {leaf} }}")]
    if spread[type_name]:
        choices.append(st.sampled_from(spread[type_name]).map("...{}".format))
    if levels > 0:
        fields: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
            "Workspace": [("users", "UserConnection", PAGES), ("groups", "GroupConnection", PAGES)],
            "User": [("groups", "Group", ("",)), ("homeGroup", "Group", ("",))],
            "Group": [("members", "UserConnection", PAGES)],
            "UserConnection": [("nodes", "User", ("",)), ("edges { node", "User", ("",))],
            "GroupConnection": [("nodes", "Group", ("",))],
        }
        for field, of, arguments in fields[type_name]:
            opening = st.builds(
                "@{}{} {{ {}".format, st.just(field), st.sampled_from(arguments), _priced(of, spread, levels - 1)
            )
            choices.append(opening.map(lambda text, field=field: text + " }" * (2 if "{" in field else 1)))  # type: ignore[misc]
    return st.lists(st.one_of(choices), min_size=1, max_size=3).map(" ".join)


def _with_aliases(text: str) -> str:
    """Give each field a name of its own, where a `@` stands, so that none has to be merged with another."""
    first, *others = text.split("@")
    return first + "".join(f"a{number}: {other}" for number, other in enumerate(others))


def any_hostile_request() -> st.SearchStrategy[Body]:
    """Return bodies of at most 256 KiB: a unit many times over in some surroundings, fragments, and large variables."""
    units = [
        " viewer{subject}", " subject", " a%:subject", " u%", " x", " users(first:1){totalCount}", " ...f%", " ...f0",
        " a%:users(first:$n){nodes{id}}", " ... on Query{viewer{subject}}", " ... on Viewer{a%:subject}", " id:1",
        " __typename @skip(if:true)", " @a", " 1", ' "x"', " {a:1}", "[", "{", "(", '"', '"""', "#\n", "\n", " ", ",",
        "...", "\\n", "\U0001f600", " $v%:Int", " x%:1", "{a", " node(id:1){id}", " workspace{name id slug}", "1", "e",
        " usage(range:{preset:TODAY}){credits}", " fragment g% on Query{x}",
    ]  # fmt: skip
    around = [
        ("{", "}"), ("{viewer{", "}}"), ("{viewer{workspace{", "}}}"), ("query($n:Int){viewer{workspace{", "}}}"),
        ("query(", "){x}"), ("{nodes(ids:[", "]){id}}"), ("{workspace(by:{", "}){id}}"), ("{node(id:1", "){id}}"),
        ("{viewer", "{subject}}"), ("", ""), ('{node(id:"', '"){id}}'), ('{node(id:"""', '"""){id}}'),
        ("{node(id:", "){id}}"), ("{...f0} ", ""), ("#", "{x}"),
        ("mutation($input:RecordUsageInput!){recordUsage(input:$input){__typename", "}}"),
        ("mutation($input:SyncDirectoryInput!){syncDirectory(input:$input){__typename", "}}"),
    ]  # fmt: skip
    counts = st.sampled_from([1, 3, 20, 50, 90, 160, 240, 320, 480, 960, 1500, 5000, 30_000, 260_000])

    def written(surroundings: tuple[str, str], parts: list[tuple[str, int]], chain: str) -> str:
        body = "".join(unit.replace("%", str(number)) for unit, count in parts for number in range(count))
        return (surroundings[0] + body + surroundings[1] + chain)[: MOST_CHARACTERS - 1000]

    document = st.builds(
        written,
        st.sampled_from(around),
        st.lists(st.tuples(st.sampled_from(units), counts), min_size=1, max_size=3),
        _chains(),
    )
    return st.builds(_body, document, _large_variables())


def _chains() -> st.SearchStrategy[str]:
    """Return fragments that spread one another, once, twice, or in circles, with something beside it."""
    besides = [
        "",
        "viewer{subject}",
        "a:viewer{subject}",
        "viewer{workspace{users{nodes{id}}}}",
        "x y z",
        "viewer{...g}",
    ]

    def chain(levels: int, times: int, beside: str, last: str) -> str:
        links = (f" fragment f{n} on Query{{{beside}{f' ...f{n + 1}' * times}}}" for n in range(levels))
        return "".join(links) + f" fragment f{levels} on Query{{{last}}}"

    return st.just("") | st.builds(
        chain,
        st.sampled_from([1, 20, 60, 95, 150]),
        st.integers(1, 3),
        st.sampled_from(besides),
        st.sampled_from(["x", "viewer{subject}", "...f0"]),
    )


def _large_variables() -> st.SearchStrategy[dict[str, object] | None]:
    leaves: list[object] = ["a", 1, None, {}, [], {"a": 1}, [[1]], ["x"] * 1000]
    lists = st.builds(
        lambda one, count: [one] * count, st.sampled_from(leaves), st.sampled_from([1, 100, 1000, 2000, 60_000])
    )
    plain = st.builds(lambda name, value: {name: value}, st.sampled_from(["n", "ids", "input"]), lists)
    return st.none() | plain | _large_batches()


def _large_batches() -> st.SearchStrategy[dict[str, object]]:
    """Return batches for inputs that take long lists: most items in order, and some that are not, wherever they are."""
    event = {"source": "a", "id": "1", "at": "2026-06-01T12:00:00Z", "user": {"id": "a"}, "product": "c", "model": "l"}
    full = event | {"credits": "1", "tier": "x", "tags": {"a": "b"}, "inputTokens": "1", "user": {"email": "a"}}
    person: dict[str, object] = {"displayName": "a", "externalId": "a", "groups": ["a"] * 20}
    wrong: list[object] = [{}, None, 1, event | {"credits": "x"}, event | {"z": 1}, event | {"user": {}}, {"a": {}}]

    counts = st.sampled_from([1, 19, 100, 400, 800, 1000, 1500, 2000])
    in_order = st.builds(lambda item, count: [item] * count, st.sampled_from([event, full, person]), counts)
    not_in_order = st.builds(lambda item, count: [item] * count, st.sampled_from(wrong), counts)
    return st.builds(
        lambda field, items, others, beside: {"input": {field: items + others} | beside},
        st.sampled_from(["events", "users"]),
        in_order,
        not_in_order,
        st.sampled_from([{}, {}, {"nothing": 1}]),
    )


def _body(document: str, variables: dict[str, object] | None) -> Body:
    """Return a body of JSON, without the variables where it would be too long with them."""
    for given in (variables, None):
        body = json.dumps({"query": document, "variables": given}, ensure_ascii=False).encode("utf-8", "replace")
        if len(body) <= MOST_CHARACTERS:
            return Body(body)
    return Body(json.dumps({"query": document[: MOST_CHARACTERS // 12 - 4]}).encode())
