"""
The items of a YAML list with their lines, scalars left as text.

YAML 1.1 would read the sku 00123 as 83 and the brand On as true; only null, true and false keep a meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

DEPTH_MAX = 50
"""libyaml recurses while it builds nodes and ends the process at some 100,000 levels, so depth is checked before."""
ALIASES_MAX = 1_000
"""Aliases are how a small file grows without end."""

_TAGS = frozenset({None, "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """What is wrong with the text, or with one item of it, as the end of a sentence about it."""


class _TextLoader(_SafeLoader):  # type: ignore[misc]  # the C loader exists only where libyaml does
    """SafeLoader that resolves nothing but null, true, false and merge keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}


_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_TextLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("(?:[tT]rue|[fF]alse|TRUE|FALSE)$"), list("tTfF")
)
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<$"), ["<"])


def yaml_items(text: str) -> Iterator[tuple[int, Any]]:
    """
    (line, item) of the list, or of the list under `products`; an item that cannot be built is a YamlError.

    Raises YamlError for a text that is no such list.
    """
    try:
        _check_events(text)
        loader = _TextLoader(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        raise YamlError(f"is not valid YAML: {_one_line(error)}; nothing was read") from error
    if isinstance(root, yaml.MappingNode):
        root = next((value for key, value in root.value if key.value == "products"), None)
    if not isinstance(root, yaml.SequenceNode):
        raise YamlError("holds no products: it has to be a list, or a list under `products:`")
    return ((node.start_mark.line + 1, _built(loader, node)) for node in root.value)


def _check_events(text: str) -> None:
    depth = aliases = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_TextLoader)
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEPTH_MAX:
            raise YamlError(f"is nested more than {DEPTH_MAX} levels deep")
        if aliases > ALIASES_MAX:
            raise YamlError(f"uses more than {ALIASES_MAX:,} aliases: write the values out")
        if getattr(event, "tag", None) not in _TAGS:
            raise YamlError(f"uses the tag {event.tag} in line {event.start_mark.line + 1}: write plain values")


def _built(loader: Any, node: yaml.Node) -> Any:
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        return YamlError(f"cannot be read: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
