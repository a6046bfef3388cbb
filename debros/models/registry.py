"""The list of defined models, and how a relation finds the model it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from debros import current
from debros.errors import ClosedError, ModelError, did_you_mean

if TYPE_CHECKING:
    from debros.models.annotations import Place, Target

_defined: dict[tuple[str, str], Any] = {}  # (module, qualified name) -> model class; a re-run definition replaces


def register(model: Any) -> None:
    """Add a model to those that `open` means when it is given none."""
    _defined[model.__module__, model.__qualname__] = model


def defined_models() -> tuple[Any, ...]:
    """Return every `@model` class defined so far, in the order of definition."""
    return tuple(_defined.values())


def find(target: Target, owner: Any, place: Place) -> Any:
    """Return the model class that a relation of `owner` leads to.

    Looked up under the name as written: the class itself, names of the function around it, classes defined
    in the same function, the module, then all defined models; of several, the one that the current node has open.

    Raises:
        ModelError: there is none, it is no `@model` class, or several have the name.
    """
    if target.model is not None:
        return _latest(target.model)
    name = target.name
    if name == owner.__name__:
        return owner
    if (found := place.function_names.get(name)) is not None:
        return _latest(found)
    scope = place.qualname.rpartition(".")[0]
    while scope:
        if (found := _defined.get((place.module, f"{scope}.{name}"))) is not None:
            return found
        scope = scope.rpartition(".")[0]
    if (found := _in_module(name, place)) is not None:
        return _latest(found)
    last = name.rpartition(".")[2]
    named = [model for model in _defined.values() if model.__name__ == last]
    if len(named) > 1:
        named = [model for model in named if _is_open(model)] or named
    if not named:
        known = did_you_mean(last, (model.__name__ for model in _defined.values()))
        raise ModelError(f"{owner.__name__}: no model is called {name!r}{known}; define it, or import its module")
    if len(named) > 1:
        places = ", ".join(f"{model.__module__}.{model.__qualname__}" for model in named)
        raise ModelError(
            f"{owner.__name__}: several models are called {name!r} ({places}); import the one that is meant"
        )
    return named[0]


def _latest(model: Any) -> Any:
    """The newest definition of a module's class, for in a notebook a cell runs again."""
    if "<locals>" in model.__qualname__:
        return model
    return _defined.get((model.__module__, model.__qualname__), model)


def _in_module(name: str, place: Place) -> Any:
    first, *rest = name.split(".")
    found = place.module_names.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found if isinstance(found, type) and getattr(found, "__schema__", None) is not None else None


def _is_open(model: Any) -> bool:
    node = current.context().node or (current.open_nodes[0] if len(current.open_nodes) == 1 else None)
    if node is None:
        return False
    try:
        node.collection(model.__schema__)
    except (ModelError, ClosedError):
        return False
    return True
