"""What the annotations of a class body say, resolved where they stand.

Field types are resolved when the class is made: in the class body, the function around it, the module. A
relation's target may not exist yet, so only its name is taken here (`targets.py` finds the model later).
"""

from __future__ import annotations

import ast
import builtins
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import FrameType, FunctionType, NoneType, UnionType
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin

from debros.errors import ModelError
from debros.models.fields import Declaration


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a class body stands: what its names mean."""

    owner: str  # class name, for messages
    module: str
    qualname: str
    module_names: Mapping[str, Any]
    function_names: Mapping[str, Any]  # of the function around it; empty in a module
    own_names: Mapping[str, Any]  # of the class body, less what it declares

    def names(self) -> dict[str, Any]:
        """Return everything a name may mean here, innermost last."""
        return {**vars(builtins), **self.module_names, **self.function_names, **self.own_names}

    def for_targets(self) -> Place:
        """Return what finding a relation's target needs of this place; a function's other objects are let go."""
        models = {k: v for k, v in self.function_names.items() if hasattr(v, "__declared__")}
        return replace(self, function_names=models, own_names={})


@dataclass(frozen=True, slots=True)
class Target:
    """The model that a relation leads to: a class, or its name as written."""

    model: type | None
    name: str
    nullable: bool  # One[T | None]


def place_of(cls_name: str, namespace: Mapping[str, Any], frame: FrameType | None) -> Place:
    """Return where a class body stands, given the frame that runs its `class` statement."""
    module_names: Mapping[str, Any] = {} if frame is None else frame.f_globals
    function_names: Mapping[str, Any] = {}
    if frame is not None and frame.f_locals is not frame.f_globals:
        function_names = dict(frame.f_locals)
    declared = (Declaration, FunctionType, staticmethod, classmethod, property)
    return Place(
        owner=cls_name,
        module=namespace.get("__module__", ""),
        qualname=namespace.get("__qualname__", cls_name),
        module_names=module_names,
        function_names=function_names,
        own_names={name: value for name, value in namespace.items() if not isinstance(value, declared)},
    )


def place_of_mixin(mixin: type, user: Place) -> Place:
    """Return where a plain mixin class stands, as far as it can be known after the fact."""
    module = sys.modules.get(mixin.__module__)
    own = {k: v for k, v in vars(mixin).items() if isinstance(v, type)}
    return Place(
        mixin.__name__, mixin.__module__, mixin.__qualname__, vars(module) if module else {}, user.function_names, own
    )


def evaluate(text: str, place: Place, attribute: str) -> Any:
    """Return the type that a quoted annotation means.

    Raises:
        ModelError: a name in it is not known here, or it is no expression.
    """
    try:
        return eval(text, place.names())  # noqa: S307 - the annotation is the program's own source
    except NameError as error:
        raise ModelError(
            f"{place.owner}.{attribute}: the name {error.name!r} in its annotation is not known where the class is"
            " defined; import it at run time (not under TYPE_CHECKING), or define it before the class"
        ) from error
    except (SyntaxError, TypeError, AttributeError) as error:
        raise ModelError(f"{place.owner}.{attribute}: the annotation {text!r} is not a type: {error}") from error


def _without_quotes(raw: Any) -> Any:
    """Return an annotation as text if it is text, however often it is quoted."""
    while isinstance(raw, ForwardRef):
        raw = raw.__forward_arg__
    while isinstance(raw, str):
        try:
            node = ast.parse(raw.strip(), mode="eval").body
        except SyntaxError:
            return raw
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            return raw.strip()
        raw = node.value
    return raw


def head_and_argument(raw: Any, place: Place, attribute: str) -> tuple[Any, Any]:
    """Split `Field[str]` into the class `Field` and its argument, which may still be text; `(type, None)` for others."""
    raw = _without_quotes(raw)
    if not isinstance(raw, str):
        return (origin, get_args(raw)[0]) if (origin := get_origin(raw)) and get_args(raw) else (raw, None)
    try:
        node = ast.parse(raw, mode="eval").body
    except SyntaxError as error:
        raise ModelError(f"{place.owner}.{attribute}: the annotation {raw!r} is not a type") from error
    if isinstance(node, ast.Subscript):
        return evaluate(ast.unparse(node.value), place, attribute), ast.unparse(node.slice)
    return evaluate(raw, place, attribute), None


def field_type(argument: Any, place: Place, attribute: str) -> Any:
    """Return the type inside `Field[...]`, wholly resolved."""
    argument = _without_quotes(argument)
    if isinstance(argument, str):
        argument = evaluate(argument, place, attribute)
    if any(isinstance(part, (str, ForwardRef)) for part in _parts(argument)):
        argument = _resolve_inner(argument, place, attribute)
    return argument


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) is not Literal:  # whose parts are values, not types
        for part in get_args(annotation):
            yield from _parts(part)


def _resolve_inner(annotation: Any, place: Place, attribute: str) -> Any:
    """Resolve forward references inside a type, such as `list["Colour"]`."""
    carrier = type("carrier", (), {"__annotations__": {"it": annotation}})
    try:
        return typing.get_type_hints(carrier, place.names(), None, include_extras=True)["it"]
    except NameError as error:
        raise ModelError(
            f"{place.owner}.{attribute}: the name {error.name!r} in its annotation is not known where the class is defined"
        ) from error


def target_of(argument: Any, place: Place, attribute: str) -> Target:
    """Return the target inside `One[...]` or `Many[...]`: a class, a name, or either with `| None`."""
    argument = _without_quotes(argument)
    if isinstance(argument, str):
        return _target_in_text(argument, place, attribute)
    parts = list(get_args(argument)) if get_origin(argument) in (Union, UnionType) else [argument]
    if get_origin(argument) is Annotated:
        return target_of(get_args(argument)[0], place, attribute)
    named = [part for part in parts if part not in (None, NoneType)]
    if len(named) == 1:
        if isinstance(named[0], type):
            return Target(named[0], named[0].__name__, len(parts) == 2)
        if isinstance(named[0], (str, ForwardRef)):
            inner = target_of(named[0], place, attribute)
            return Target(inner.model, inner.name, inner.nullable or len(parts) == 2)
    raise _no_target(place, attribute, argument)


def _target_in_text(text: str, place: Place, attribute: str) -> Target:
    node = ast.parse(text, mode="eval").body
    nullable = False
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] == "Optional":
        node, nullable = node.slice, True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [
            side for side in (node.left, node.right) if not (isinstance(side, ast.Constant) and side.value is None)
        ]
        if len(sides) != 1:
            raise _no_target(place, attribute, text)
        node, nullable = sides[0], True
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        inner = _target_in_text(node.value, place, attribute)
        return Target(inner.model, inner.name, inner.nullable or nullable)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        raise _no_target(place, attribute, text)
    return Target(None, ast.unparse(node), nullable)


def _no_target(place: Place, attribute: str, argument: object) -> ModelError:
    return ModelError(
        f"{place.owner}.{attribute}: {argument!r} is not a model; write `One[User]`, `One[User | None]` or `Many[Post]`"
    )


def return_of(method: Callable[..., Any]) -> Any:
    """Return a method's return annotation, as text or as a type; `None` where it has none."""
    returned = method.__annotations__.get("return")
    return _without_quotes(returned)


def list_item(annotation: Any) -> Any:
    """Return what stands inside `list[...]`, as text or as a type; `None` if it is no list of something."""
    if isinstance(annotation, str):
        node = ast.parse(annotation, mode="eval").body
        is_list = isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] in ("list", "List")
        return ast.unparse(node.slice) if is_list else None  # type: ignore[attr-defined]  # then it is a Subscript
    return get_args(annotation)[0] if get_origin(annotation) is list and get_args(annotation) else None
