"""YAML as people mean it: no YAML 1.1 surprises, no key twice.

PyYAML reads `4:5` as 245, `no` (Norwegian) as False and keeps the last of two equal keys; a brief needs none
of that.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own class-level registry, filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be one word", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|false|False", "tTfF"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))


class YamlMistake(ValueError):
    """The text isn't YAML; `str(error)` says where and why in half a sentence."""


def read_yaml(text: str) -> Any:
    """Parse one document.

    Raises:
        YamlMistake: it can't be parsed; names line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "unknown place"
        hint = ""
        if mark and "*" in text.splitlines()[mark.line] and "alias" in f"{error.context} {error.problem}":
            hint = " (put a cron expression in quotes)"
        raise YamlMistake(f"{place}: {error.problem}{hint}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlMistake(str(error).splitlines()[0]) from None
