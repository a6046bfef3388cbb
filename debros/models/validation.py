"""Checking values against the declared types: pydantic's validators, built once per model.

Nothing is coerced but an integer to a float, unless the model says `strict=False`. pydantic copies lists, sets and
dicts, and what it does not look into (`Any`, nested models) is written and read back, so a record never shares a
collection with its caller. All rules are inside pydantic's validators: so everything that is wrong is found at once.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from annotated_types import MinLen
from pydantic import AfterValidator, AllowInfNan, ConfigDict, TypeAdapter, with_config
from pydantic import ValidationError as PydanticError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from debros.errors import FieldError, ValidationError, did_you_mean
from debros.values import TypeInfo
from debros.values.composites import MAX_DEPTH
from debros.values.decimals import MAX_DIGITS, is_canonical

_INT64: Final = (-(2**63), 2**63 - 1)
_SHORTEST, _LONGEST = (dt.timedelta(microseconds=bound) for bound in _INT64)


class Validator:
    """Checks the values of one model.

    Args:
        model: its name, for errors.
        types: what each field's annotation means.
        strict: refuse what pydantic could coerce.
        convert: by field, called before the type check.
        validate: by field, called after it; `False`, a message or a raise refuses.
    """

    def __init__(
        self,
        model: str,
        types: Mapping[str, TypeInfo],
        *,
        strict: bool,
        convert: Mapping[str, Callable[[Any], Any]],
        validate: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        self._model = model
        self._types = types
        self._strict = strict
        self._convert = dict(convert)
        fields = {name: _annotation(info) for name, info in types.items()}
        fields |= {name: Annotated[fields[name], AfterValidator(_asking(ask))] for name, ask in validate.items()}
        whole = with_config(ConfigDict(extra="forbid"))(TypedDict(model, fields))  # type: ignore[operator]  # made at run time
        self._whole = TypeAdapter(whole).validator.validate_python
        self._fields = fields
        self._single: dict[str, Callable[..., Any]] = {}

    def check_all(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a whole record, checked.

        Raises:
            ValidationError: listing everything that is wrong, missing and unknown names included.
        """
        errors: list[FieldError] = []
        if self._convert:
            values = self._converted(values, errors)
        try:
            checked: dict[str, Any] = self._whole(values, strict=self._strict)
        except PydanticError as error:
            failed = {problem.field for problem in errors}
            errors += [told for told in map(self._told, error.errors()) if told.field not in failed]
            raise ValidationError(self._model, tuple(errors)) from None
        if errors:
            raise ValidationError(self._model, tuple(errors))
        return checked

    def annotation(self, name: str) -> Any:
        """Return how pydantic sees a field: its type, and all rules."""
        return self._fields[name]

    def check_one(self, name: str, value: Any) -> Any:
        """Return the value of one field, checked.

        Raises:
            ValidationError: it does not fit.
        """
        errors: list[FieldError] = []
        if name in self._convert:
            value = self._converted({name: value}, errors)[name]
        check = self._single.get(name)
        if check is None:
            check = self._single[name] = TypeAdapter(self._fields[name]).validator.validate_python
        if not errors:
            try:
                value = check(value, strict=self._strict)
            except PydanticError as error:
                errors = [self._told(problem, name) for problem in error.errors()]
                raise ValidationError(self._model, tuple(errors)) from None
        if errors:
            raise ValidationError(self._model, tuple(errors))
        return value

    def _converted(self, values: dict[str, Any], errors: list[FieldError]) -> dict[str, Any]:
        made = dict(values)
        for name, convert in self._convert.items():
            if name in made:
                try:
                    made[name] = convert(made[name])
                except Exception as error:  # the user's function may raise anything; the value is refused for it
                    errors.append(FieldError(name, made[name], "convert", str(error) or type(error).__name__))
        return made

    def _told(self, problem: ErrorDetails, inside: str = "") -> FieldError:
        """Say in our words what pydantic found."""
        path = ".".join(map(str, (inside, *problem["loc"]) if inside else problem["loc"]))
        kind, message = problem["type"], problem["msg"]
        if kind == "extra_forbidden":
            message = f"no such field{did_you_mean(path, self._types)}"
        if kind == "missing":
            return FieldError(path, None, kind, "a value is required")
        if kind == "dataclass_exact_type" and problem.get("ctx", {}).get("class_name") == "File":
            message += "; `await File.add(...)` gives one"
        elif isinstance(problem["input"], str) and kind in _HAVE_JSON_FORMS:
            message += '; text in its JSON form, as `to_dict(mode="json")` gives it, goes through `from_dict`'
        return FieldError(path, problem["input"], kind, message)


_HAVE_JSON_FORMS: Final = frozenset(
    {"datetime_type", "date_type", "time_type", "time_delta_type", "bytes_type", "is_instance_of"}
)


def _annotation(info: TypeInfo) -> Any:
    """Add what every value of the kind has to be, declared or not."""
    kind, annotation = info.codec.kind, _unicode(info.annotation)
    if kind == "int":
        bounded = FieldInfo(ge=_INT64[0], le=_INT64[1]) if info.bounds is None else AfterValidator(_within_int64)
        return Annotated[annotation, bounded]
    if kind == "float":
        return Annotated[annotation, AllowInfNan(False)]
    if kind == "decimal":
        return Annotated[annotation, AfterValidator(_storable_decimal)]
    if kind == "time":
        return Annotated[annotation, AfterValidator(_without_zone)]
    if kind == "instant":
        return Annotated[annotation, AfterValidator(_in_utc)]
    if kind == "duration":
        return Annotated[annotation, AfterValidator(_within_microseconds)]
    item = info.codec.item
    if kind in ("text", "bytes", "bool", "date", "uuid", "choice") or (
        kind in ("list", "set") and item is not None and item.kind in ("text", "bool", "bytes")
    ):
        return annotation
    return Annotated[annotation, AfterValidator(_storable(info))]


def _within_int64(value: int | None) -> int | None:
    if value is not None and not _INT64[0] <= value <= _INT64[1]:
        raise PydanticCustomError("int_too_large", "Integers have 64 bits at most")
    return value


def _unicode(annotation: Any) -> Any:
    """Make pydantic check that text is Unicode, inside collections too: it does so where any constraint is declared."""
    if annotation is str:
        return Annotated[str, MinLen(0)]
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return Annotated[(_unicode(inner), *metadata)]
    if get_origin(annotation) in (list, set, dict, tuple):
        return get_origin(annotation)[tuple(map(_unicode, get_args(annotation)))]
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(map(_unicode, get_args(annotation)))]  # noqa: UP007 - members known at run time
    return annotation


def _in_utc(value: dt.datetime | None) -> dt.datetime | None:
    if value is None or (value.tzinfo is dt.UTC and type(value) is dt.datetime):
        return value
    if value.utcoffset() is None:
        raise PydanticCustomError(
            "timezone_aware",
            "Input should have timezone info; give it one, e.g. datetime(..., tzinfo=UTC) or debros.now()",
        )
    try:
        moved = value.astimezone(dt.UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_object_invalid", "Input is beyond the years 1 to 9999 in UTC") from None
    return dt.datetime.combine(moved.date(), moved.time(), dt.UTC)  # of a subclass, the plain type


def _within_microseconds(value: dt.timedelta | None) -> dt.timedelta | None:
    if value is not None and not _SHORTEST <= value <= _LONGEST:
        raise PydanticCustomError("int_too_large", "Durations have at most 64 bits of microseconds, 292,471 years")
    return value


def _storable_decimal(value: Any) -> Any:
    if value is not None and not is_canonical(str(value)):
        raise PydanticCustomError(
            "decimal_max_digits",
            "Decimals are finite, of at most {max} digits and nine of exponent",
            {"max": MAX_DIGITS},
        )
    return value


def _without_zone(value: dt.time | None) -> dt.time | None:
    if value is not None and value.tzinfo is not None:
        raise PydanticCustomError("timezone_naive", "Input should not have timezone info")
    return value


def _storable(info: TypeInfo) -> Callable[[Any], Any]:
    """Check a composite value by writing it, and return what would be read: the record's own, in the stored form."""
    codec = info.codec
    to_column, from_column = codec.to_column, codec.from_column
    assert to_column is not None  # every composite is a BLOB
    assert from_column is not None

    def check(value: Any) -> Any:
        if value is None and info.nullable:
            return value
        if codec.is_operand(value):
            try:
                wire = value if codec.to_wire is None else codec.to_wire(value)
                if codec.accepts(wire):
                    return from_column(to_column(wire))
            except (ValueError, OverflowError, RecursionError):
                pass  # it is refused below
        flaw = _flaw_of_any(value, "", 0) if "Any" in codec.name else ""
        raise PydanticCustomError(
            "not_storable",
            "Input should be a storable {kind}{flaw}",
            {"kind": codec.name, "flaw": flaw and f": {flaw}"},
        )

    return check


def _flaw_of_any(value: Any, place: str, depth: int) -> str:
    """Return where in a value declared `Any` stands what has no form in the log; empty where that is not told so easily."""
    if depth > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} deep"
    if isinstance(value, dict):
        odd = [key for key in value if type(key) is not str]
        if odd:
            return f"{place or 'this'} has the key {odd[0]!r}, and keys are text"
        inner = [(f"{place}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(f"{place}[{at}]", item) for at, item in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value):
        return f"{place or 'this'} is {value}, and numbers are finite"
    elif type(value) is int and not _INT64[0] <= value <= _INT64[1]:
        return f"{place or 'this'} is {value}, and integers have 64 bits"
    elif value is None or isinstance(value, (bool, int, float, str, bytes)):
        return ""
    else:
        return f"{place or 'this'} is a {type(value).__name__}; `Any` holds None, bool, int, float, str, bytes, list and dict"
    return next((flaw for at, item in inner if (flaw := _flaw_of_any(item, at, depth + 1))), "")


def _asking(validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Ask a declared validator, which refuses by `False`, by a message, or by whatever it raises."""

    def check(value: Any) -> Any:
        try:
            answer = validate(value)
        except Exception as error:  # the user's function may raise anything; the value is refused for it
            answer = str(error) or type(error).__name__
        if answer is False:
            answer = "the value is refused"
        if isinstance(answer, str):
            raise PydanticCustomError("validate", "{reason}", {"reason": answer})
        return value

    return check
