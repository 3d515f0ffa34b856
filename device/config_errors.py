"""From what the checker found in a configuration to one line for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from device.config_yaml import Document, Where
from device.errors import InputError
from device.validation import field_name


class ConfigError(InputError):
    """Every mistake in a configuration, one line each; `problems` holds them singly.

    A key is named once, with the first thing found wrong with it, in the order of the file.
    """

    def __init__(self, problems: Sequence[InputError]) -> None:
        by_key = {problem.field: problem for problem in reversed(problems)}
        self.problems = tuple(sorted(by_key.values(), key=_line))
        first = self.problems[0]
        super().__init__(first.file, first.field, first.found, first.expected)
        self.args = ("\n".join(str(problem) for problem in self.problems),)

    def lines(self) -> list[str]:
        """A line for each mistake."""
        return [line for problem in self.problems for line in problem.lines()]


def _line(problem: InputError) -> int:
    number = problem.file.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def explain(document: Document, root: type[BaseModel], error: ValidationError) -> list[InputError]:
    """One mistake for each key.

    A value that fits none of several types (a number, or auto) is one mistake, not one per type.
    """
    problems: dict[Where, InputError] = {}
    for finding in error.errors(include_url=False, include_context=False):
        where, model, info = _locate(root, finding["loc"])
        kind = finding["type"]
        if kind in ("union_tag_not_found", "union_tag_invalid"):
            expected = "one of " + ", ".join(sorted(map(_kind, _sections(info))))
            where = (*where, "kind")
        elif kind == "extra_forbidden":
            expected = _nearest(model, where)
        else:
            expected = _expected(info, finding["msg"])
        key = field_name(*where) or "the document"
        problem = document.problem(where, key, document.found(where), expected)
        problems.setdefault(where, problem)
    return list(problems.values())


def _locate(
    root: type[BaseModel], loc: Iterable[str | int]
) -> tuple[Where, type[BaseModel], FieldInfo | None]:
    """The key a finding is about, the model around it, and the field if there is one.

    pydantic's place also holds the names of types it tried and the indices in lists.
    """
    where: Where = ()
    model: type[BaseModel] = root
    info: FieldInfo | None = None
    choices = [root]
    for part in loc:
        if not isinstance(part, str) or not choices:
            continue
        if len(choices) > 1:  # a union's section goes by its kind, which is no key
            choices = [choice for choice in choices if _kind(choice) == part]
            continue
        where, model = (*where, part), choices[0]
        info = model.model_fields.get(part)
        choices = _sections(info)
    return where, model, info


def _sections(info: FieldInfo | None) -> list[type[BaseModel]]:
    """The sections a field may hold."""
    if info is None:
        return []
    kinds = get_args(info.annotation) or (info.annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _kind(section: type[BaseModel]) -> str:
    (kind,) = get_args(section.model_fields["kind"].annotation)
    return str(kind)


def _expected(info: FieldInfo | None, message: str) -> str:
    """What the field's description says, otherwise what the checker says."""
    if info is not None and info.description:
        return info.description
    plain = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return "a section of keys" if "dictionary" in plain else plain


def _nearest(model: type[BaseModel], where: Where) -> str:
    names = list(model.model_fields)
    near = difflib.get_close_matches(str(where[-1]), names, n=1)
    known = ", ".join(names)
    return f"{near[0]}? (known: {known})" if near else f"one of {known}"
