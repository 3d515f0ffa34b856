"""YAML to plain data that remembers the line of every key.

A configuration is written by people: keys are text, a key given twice is a mistake, 1e-3 is a
number, a date is text, and there are no tags that make objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from device.errors import InputError
from device.validation import shown

Where = tuple[str | int, ...]  # where a value stands: ("camera", "size", 0)

_DEEPEST, _MOST_VALUES = 20, 10_000
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.1 wants 1.0e-3
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str")}
_TEXT_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "value", "merge")}


@dataclass
class Document:
    """Plain data (dict, list, str, int, float, bool, None) and where each value was written.

    problems : what YAML allows and a configuration does not, one InputError each.
    """

    file: str
    data: object = None
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[InputError] = field(default_factory=list)

    def line(self, where: Where) -> int:
        """The line of a value, or of the nearest thing around it that was written."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def found(self, where: Where) -> str:
        """The value there on one short line; "nothing" where none was written."""
        value = self.data
        for part in where:
            if not isinstance(value, dict) or part not in value:
                return "nothing"
            value = value[part]
        return shown(value)

    def problem(self, where: Where, key: str, found: str, expected: str) -> InputError:
        """An error that names the file and the line."""
        return InputError(f"{self.file}:{self.line(where)}", key, found, expected)


def parse_yaml(file: str, text: str) -> Document:
    """Read one YAML document; raises InputError with the line where it is not YAML at all."""
    document = Document(file)
    loader = None
    try:
        loader = yaml.SafeLoader(text)  # refuses characters that no text has
        root = loader.get_single_node()
        if root is not None:
            document.data = _Reader(document, loader).value(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        found = error.problem or "a syntax error"
        raise InputError(f"{file}:{line}", "syntax", found, "YAML") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        found = f"the character {shown(error.character)}"
        raise InputError(f"{file}:{line}", "syntax", found, "printable text") from None
    except RecursionError:
        raise InputError(f"{file}:1", "syntax", "endless nesting", "plain YAML") from None
    finally:
        if loader is not None:
            loader.dispose()
    return document


class _Reader:
    """Turns YAML's nodes into data, noting lines and problems on the way."""

    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self.document, self.loader = document, loader

    def value(self, node: yaml.Node, where: Where) -> object:
        self.document.lines.setdefault(where, node.start_mark.line + 1)
        if len(where) > _DEEPEST or len(self.document.lines) > _MOST_VALUES:
            # An anchor inside itself has no end, and ten of ten of ten are a thousand.
            raise RecursionError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*where, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # YAML has no fourth kind
        return self._scalar(node, where)

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.lines[(*where, "?")] = key_node.start_mark.line + 1
                self._complain((*where, "?"), "a list or a mapping as a key", "a key of text")
                continue
            key = str(key_node.value)
            here = (*where, key)
            again = key in data
            self.document.lines[here] = key_node.start_mark.line + 1
            data[key] = self.value(value_node, here)
            if again:
                self._complain(here, "the key a second time", "each key once")
        return data

    def _scalar(self, node: yaml.ScalarNode, where: Where) -> object:
        text = str(node.value)
        if node.tag in _TEXT_TAGS or node.tag not in _PLAIN_TAGS:
            if node.tag not in _TEXT_TAGS:
                self._complain(where, f"the tag {shown(node.tag)}", "a plain value")
            return text
        if node.tag.endswith(":str") and node.style is None and _EXPONENT.fullmatch(text):
            return float(text)
        try:
            value: object = self.loader.construct_object(node, deep=True)
        except (ValueError, KeyError, IndexError):  # !!int with something else behind it
            self._complain(where, shown(text), f"a value of type {node.tag.rpartition(':')[2]}")
            return None
        return value

    def _complain(self, where: Where, found: str, expected: str) -> None:
        key = ".".join(str(part) for part in where) or "the document"
        self.document.problems.append(self.document.problem(where, key, found, expected))
