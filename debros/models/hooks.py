"""Hooks: methods of a model that run around its local writes.

`@before_save` and its seven siblings only mark a method; the model's class collects the marks, parents first,
then in the order of definition. An overridden hook runs once, in the parent's place, as the child wrote it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast, overload

from debros.errors import ModelError

HookEvent: TypeAlias = Literal[
    "before_create", "after_create", "before_save", "after_save",
    "before_update", "after_update", "before_delete", "after_delete",
]  # fmt: skip
Hook: TypeAlias = Callable[[Any], Any]
H = TypeVar("H", bound=Hook)

_MARK: Final = "__debros_hooks__"


class _HookMark:
    """The decorator of one event; `@before_save` and `@before_save()` are the same."""

    def __init__(self, event: HookEvent) -> None:
        self._event = event
        self.__name__ = event
        self.__doc__ = f"Run the method {event.replace('_', ' a local ', 1)}: sync or async, taking only `self`."

    @overload
    def __call__(self, method: H, /) -> H: ...
    @overload
    def __call__(self, /) -> _HookMark: ...
    def __call__(self, method: Any = None, /) -> Any:
        if method is None:
            return self
        if not isinstance(method, FunctionType):
            raise ModelError(f"@{self._event} marks a method (`def name(self)`), not {method!r}")
        code = method.__code__
        if code.co_argcount + code.co_kwonlyargcount != 1:
            raise ModelError(f"the hook {method.__qualname__} takes only `self`; `self.changes` says what is written")
        setattr(method, _MARK, (*getattr(method, _MARK, ()), self._event))
        return method


before_create = _HookMark("before_create")
after_create = _HookMark("after_create")
before_save = _HookMark("before_save")
after_save = _HookMark("after_save")
before_update = _HookMark("before_update")
after_update = _HookMark("after_update")
before_delete = _HookMark("before_delete")
after_delete = _HookMark("after_delete")


def collect(mro: Sequence[type]) -> dict[HookEvent, tuple[Hook, ...]]:
    """Return the hooks of a class with this method resolution order, by event; events without hooks are left out."""
    names: dict[HookEvent, list[str]] = {}
    for cls in reversed(mro):
        for name, value in vars(cls).items():
            for event in getattr(value, _MARK, ()):
                if name not in (known := names.setdefault(event, [])):
                    known.append(name)
    found: dict[HookEvent, tuple[Hook, ...]] = {}
    for event, listed in names.items():
        methods = [next(vars(cls)[name] for cls in mro if name in vars(cls)) for name in listed]
        if hooks := tuple(method for method in methods if isinstance(method, FunctionType)):
            found[event] = hooks
    return found


def hooks_of(model: type) -> Mapping[HookEvent, tuple[Hook, ...]]:
    """Return a model's hooks by event, in the order in which they run.

    Raises:
        ModelError: this is not a model.
    """
    hooks = getattr(model, "__hooks__", None)
    if hooks is None:
        raise ModelError(f"{model!r} is not a debros model")
    return cast(Mapping[HookEvent, tuple[Hook, ...]], hooks)


async def run(hooks: Sequence[Hook], record: object) -> None:
    """Run hooks one after another; the first error stops them and reaches the caller."""
    for hook in hooks:
        result = hook(record)
        if inspect.isawaitable(result):
            await result
