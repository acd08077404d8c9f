"""Bodies and queries, read into structs: everything that is wrong with them is told at once.

Stricter than the loader of quart-schema, which stops at the first error, takes ``"1"`` for ``1`` in a body, and
leaves unknown parameters of the query unnoticed.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar, cast

import msgspec
from msgspec.structs import FieldInfo
from quart import Request, abort

from .errors import Rejected, pointer

__all__ = ["read_body", "read_query"]

T = TypeVar("T", bound=msgspec.Struct)

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,39}")
_WHERE = re.compile(r"(?: of (?:key|value))? - at `(.*)`$")
_STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")
_NAMES = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "datetime": "date and time"}
_MOST_ERRORS = 20
_NO_BODY = "The body must be a JSON object."


async def read_body(request: Request, model: type[T]) -> T:
    """The body as ``model``.

    Answers 415 if it is not said to be JSON, and 400 if it is none: invalid UTF-8, ``NaN``, a key that an object has
    twice and nesting that exhausts the parser included.

    :raises Rejected: if it is JSON, but no ``model``.
    """
    if not request.is_json:
        abort(415, "Send the body as application/json.")
    value = _parse(cast(bytes, await request.get_data()))
    if not isinstance(value, dict):
        raise Rejected([{"detail": _NO_BODY, "pointer": pointer()}])
    return _convert(value, model)


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_refuse, parse_float=_number)
    except UnicodeDecodeError as error:
        abort(400, f"The body is not UTF-8: byte {error.start} cannot be decoded.")
    except RecursionError:
        abort(400, "The body is nested too deeply.")
    except json.JSONDecodeError as error:
        abort(400, f"The body is not JSON: {error.msg}, line {error.lineno}, column {error.colno}.")
    except ValueError as error:  # from our hooks, or a number of thousands of digits
        abort(400, f"The body is not acceptable JSON: {str(error)[:200]}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _number(text: str) -> float | int:
    """``1.0`` is an integer to JSON Schema."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _convert(values: dict[str, Any], model: type[T]) -> T:
    found: dict[str, Any] = {}
    fields = {info.encode_name: info for info in msgspec.structs.fields(model)}
    unknown = f"There is no such field. There are {', '.join(fields)}."
    errors = [{"detail": unknown, "pointer": pointer(name)} for name in values.keys() - fields.keys()]
    for name, info in fields.items():
        if name not in values:
            if info.required:
                errors.append({"detail": "This field is required.", "pointer": pointer(name)})
            continue
        try:
            found[info.name] = msgspec.convert(values[name], info.type)
        except msgspec.ValidationError as error:
            detail, path = _told(error)
            errors.append({"detail": detail, "pointer": pointer(name, *path)})
    if errors:
        raise Rejected(sorted(errors, key=lambda error: error["pointer"])[:_MOST_ERRORS])
    return model(**found)


def _told(error: msgspec.ValidationError) -> tuple[str, list[str]]:
    """The message in JSON's terms, and the path below the field."""
    text = str(error)
    path: list[str] = []
    if match := _WHERE.search(text):
        text = text[: match.start()]
        path = [index or key for index, key in _STEP.findall(match[1])]
    text = re.sub(
        r"`([^`]*)`", lambda quoted: re.sub(r"\w+", lambda name: _NAMES.get(name[0], name[0]), quoted[1]), text
    )
    return f"{text}.", path


def read_query(request: Request, model: type[T] | None) -> T | None:
    """The query as ``model``; no parameter at all is allowed if it is None.

    :raises Rejected: if a parameter is unknown, given more than once, or wrong.
    """
    fields = {info.encode_name: info for info in msgspec.structs.fields(model)} if model is not None else {}
    errors: list[dict[str, str]] = []
    found: dict[str, Any] = {}
    for name, values in request.args.lists():
        if name not in fields:
            known = f"There are {', '.join(fields)}" if fields else "There are none here"
            errors.append({"detail": f"There is no such parameter. {known}.", "parameter": name})
        elif len(values) > 1:
            errors.append({"detail": "Give this parameter only once.", "parameter": name})
        else:
            try:
                found[fields[name].name] = _convert_text(values[0], fields[name])
            except msgspec.ValidationError as error:
                errors.append({"detail": _told(error)[0].replace(" | null", ""), "parameter": name})
    if errors:
        raise Rejected(errors[:_MOST_ERRORS])
    return model(**found) if model is not None else None


def _convert_text(text: str, info: FieldInfo) -> Any:
    try:
        return msgspec.convert(text, info.type)
    except msgspec.ValidationError as error:
        if not (str(error).startswith("Expected `int") and _INTEGER.fullmatch(text)):
            raise
    return msgspec.convert(int(text), info.type)
