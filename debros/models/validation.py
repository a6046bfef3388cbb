"""Checking values against the declared types: pydantic's validators, built once per model.

Nothing is coerced but an integer to a float, unless the model says `strict=False`. pydantic copies lists, sets and
dicts, so a record never shares a collection with its caller.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from annotated_types import MaxLen
from pydantic import AfterValidator, AllowInfNan, ConfigDict, TypeAdapter, with_config
from pydantic import ValidationError as PydanticError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from debros.errors import FieldError, ValidationError, did_you_mean
from debros.values import TypeInfo
from debros.values.decimals import MAX_DIGITS

_INT64: Final = (-(2**63), 2**63 - 1)


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
        self._validate = dict(validate)
        self._instants = [name for name, info in types.items() if info.codec.kind == "instant"]
        fields = {name: _annotation(info) for name, info in types.items()}
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
        for name in self._instants:
            value = checked[name]
            if value is not None and value.tzinfo is not dt.UTC:
                if value.tzinfo is None:
                    errors.append(_naive(name, value))
                else:
                    checked[name] = value.astimezone(dt.UTC)
        for name, validate in self._validate.items():
            if (refused := _refusal(validate, checked[name])) is not None:
                errors.append(FieldError(name, checked[name], "validate", refused))
        if errors:
            raise ValidationError(self._model, tuple(errors))
        return checked

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
            if name in self._instants and value is not None:
                if value.tzinfo is None:
                    raise ValidationError(self._model, (_naive(name, value),))
                value = value.astimezone(dt.UTC)
            if name in self._validate and (refused := _refusal(self._validate[name], value)) is not None:
                errors = [FieldError(name, value, "validate", refused)]
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
        return FieldError(path, problem["input"], kind, message)


def _annotation(info: TypeInfo) -> Any:
    """Add what every value of the kind has to be, declared or not."""
    kind, annotation = info.codec.kind, info.annotation
    if kind == "int":
        return (
            Annotated[annotation, FieldInfo(ge=_INT64[0], le=_INT64[1])]
            if info.bounds is None
            else Annotated[annotation, AfterValidator(_within_int64)]
        )
    if kind == "float":
        return Annotated[annotation, AllowInfNan(False)]
    if kind == "decimal":
        return Annotated[annotation, AfterValidator(_storable_decimal)]
    if kind == "time":
        return Annotated[annotation, AfterValidator(_without_zone)]
    if kind == "text" and info.bounds is None:
        return Annotated[annotation, MaxLen(_INT64[1])]  # any constraint makes pydantic check that it is Unicode
    item = info.codec.item
    if kind in ("text", "bytes", "bool", "date", "duration", "uuid", "instant", "choice") or (
        kind in ("list", "set") and item is not None and item.kind in ("text", "bool", "bytes")
    ):
        return annotation
    return Annotated[annotation, AfterValidator(_storable(info))]


def _within_int64(value: int | None) -> int | None:
    if value is not None and not _INT64[0] <= value <= _INT64[1]:
        raise PydanticCustomError("int_too_large", "Integers have 64 bits at most")
    return value


def _storable_decimal(value: Any) -> Any:
    if value is not None and (not value.is_finite() or len(value.as_tuple().digits) > MAX_DIGITS):
        raise PydanticCustomError("decimal_max_digits", f"Decimals are finite and have {MAX_DIGITS} digits at most")
    return value


def _naive(name: str, value: object) -> FieldError:
    message = "Input should have timezone info; give it one, e.g. datetime(..., tzinfo=UTC) or debros.now()"
    return FieldError(name, value, "timezone_naive", message)


def _without_zone(value: dt.time | None) -> dt.time | None:
    if value is not None and value.tzinfo is not None:
        raise PydanticCustomError("timezone_aware", "Input should not have timezone info")
    return value


def _storable(info: TypeInfo) -> Callable[[Any], Any]:
    """Check what stands inside a composite value by its wire form: the types, 64 bits, depth, finite numbers."""
    codec = info.codec

    def check(value: Any) -> Any:
        if value is None and info.nullable:
            return value
        try:
            good = codec.accepts(value if codec.to_wire is None else codec.to_wire(value))
        except (TypeError, ValueError, OverflowError, AttributeError):
            good = False
        if not good:
            raise PydanticCustomError("not_storable", "Input should be a storable {kind}", {"kind": codec.name})
        return value

    return check


def _refusal(validate: Callable[[Any], Any], value: Any) -> str | None:
    """Ask a declared validator; return why it refuses, `None` if it does not."""
    try:
        answer = validate(value)
    except Exception as error:  # whatever it raises, it refuses
        return str(error) or type(error).__name__
    if answer is False:
        return "the value is refused"
    return answer if isinstance(answer, str) else None
