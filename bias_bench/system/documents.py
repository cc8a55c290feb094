"""JSON documents of run folders as types: read with a check of every field, written as they were.

A field that a version does not know is kept, and one that is absent stays absent, so that reading
and writing a document changes no byte of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WrapSerializer

from bias_bench.errors import BiasBenchError, DataError
from bias_bench.system.files import json_text, parse_json

_SHOWN = 60  # characters of a wrong value in a message


class Document(BaseModel):
    """A part of a JSON document that cannot be changed; all its numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    def dump(self) -> dict[str, Any]:
        """The JSON value, with the fields that were given and no others."""
        return self.model_dump(exclude_unset=True, by_alias=True, warnings="error")

    @classmethod
    def parse(cls, content: Any, source: object, advice: str) -> Self:
        """The document that a JSON value holds.

        DataError in one line, with the `source`, for the first wrong field; `advice` ends it.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "its content"
        given = repr(problem["input"])
        given = "" if problem["type"] == "missing" else f", not {given[:_SHOWN]}"
        message = problem["msg"][:1].lower() + problem["msg"][1:]
        raise DataError(f"{source}: damaged: {key}: {message}{given}; {advice}")


T = TypeVar("T")


def _none_for_empty(value: Any) -> Any:
    return None if value == {} else value


def _empty_for_none(value: Any, handler: Any) -> Any:
    return {} if value is None else handler(value)


# what was not measured: None here, an empty object in JSON
Measured = Annotated[T | None, BeforeValidator(_none_for_empty), WrapSerializer(_empty_for_none)]


def read_document(path: Path, schema: int, advice: str) -> dict[str, Any]:
    """The JSON object of a file.

    DataError where it is damaged, BiasBenchError where it has another `schema`; both end with
    `advice`, one on a damaged file and one on a newer one.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        json_text(content)  # refuses numbers that are not finite
    except ValueError as error:
        raise DataError(f"{path}: damaged: not valid JSON ({error}); {advice}") from None
    given = content.get("schema") if isinstance(content, dict) else None
    if given != schema:
        raise BiasBenchError(
            f"{path}: schema {given} is not known to this version of biasbench (it knows "
            f"{schema}); update biasbench, or give another --name"
        )
    return content
