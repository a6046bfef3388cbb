"""Settings of a node: its values, three presets, and the order in which their sources count.

What the program says counts most: arguments of `debros.open`, then a `Config` given as `config=`. Below them stand
`DEBROS_*` environment variables, `[tool.debros]` in the nearest `pyproject.toml` upward from the working directory,
`<home>/debros.toml`, a preset, and the defaults. Wherever a setting is wrong, the `ConfigError` names that place.
"""

from __future__ import annotations

import json
import tomllib
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, ModelWrapValidatorHandler, ValidationInfo, model_validator
from pydantic_core import ErrorDetails

from debros.errors import ConfigError, did_you_mean

Durability: TypeAlias = Literal["disk", "process"]
Preset: TypeAlias = Literal["development", "production", "testing"]

PREFIX: Final = "DEBROS_"  # of environment variables
DEFAULT_APP: Final = "default"  # of programs that name none


def _no_flag(value: object) -> object:
    """Refuse `true` for a number, which Python would read as 1."""
    if isinstance(value, bool):
        raise ValueError("is a number, not true or false")
    return value


def _parsed(value: object) -> object:
    """Read JSON, as which the environment gives a table."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"a table in JSON, which it is not ({error})") from error


Count: TypeAlias = Annotated[int, BeforeValidator(_no_flag)]


class Config(BaseModel):
    """The settings of one node. An unknown name or a wrong value is a `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    durability: Durability = "disk"
    """What an acknowledged write survives: a power cut (`disk`), or only the end of the process (`process`)."""

    app: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9-]{1,64}$")] = DEFAULT_APP
    """Name of the application: nodes share logs only under the same name."""

    serve: Literal["all", "members"] = "all"
    """Whom this node serves its logs to: any peer, or those who prove a key that may write there."""

    row_cache: Annotated[Count, pydantic.Field(ge=1)] = 10_000
    """Rows kept in memory for reads by id; about 1 KiB each."""

    flush_rows: Annotated[Count, pydantic.Field(ge=1, le=100_000)] = 500
    """Entries, or a quarter of the rows, that wait in memory before they are moved into the view.

    More is faster, and holds the loop longer; what waits is replayed from the log after a crash.
    """

    auto_migrate: bool = False
    """Whether opening the node applies pending migrations."""

    models: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][\w.]*$")] | None = None
    """The module that the `debros` command takes models from."""

    migrations: str = "migrations"
    """The folder that the `debros` command takes migrations from, and writes them to."""

    home: str = "data"
    """The home that the `debros` command opens where none is given."""

    max_segment_bytes: Annotated[Count, pydantic.Field(ge=4096)] = 256 * 1024 * 1024
    """Size at which a file of the log is closed and the next one begun."""

    query_cache: Annotated[Count, pydantic.Field(ge=0)] = 1_000
    """Results that queries with `.cache()` keep; 0: none."""

    query_cache_bytes: Annotated[Count, pydantic.Field(ge=0)] = 64 * 1024 * 1024
    """Bytes that these results may take, estimated; and those of relations as many."""

    query_cache_ttl_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] = 300
    """Seconds for which a result is kept where the query does not say."""

    relation_cache: Annotated[Count, pydantic.Field(ge=0)] = 1_000
    """Results that relations with `.cache()`, or of such queries, keep; 0: none."""

    relation_cache_ttl_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] = 600
    """Seconds for which what a relation loaded is kept where it does not say."""

    query_timeout_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] = 30
    """Seconds after which a query that runs beside the program is given up, inside transactions excepted."""

    concurrent_queries: Annotated[Count, pydantic.Field(ge=1, le=10_000)] = 100
    """Long queries that run beside the program at once, each with a connection of its own; others wait."""

    migration_timeout_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] | None = None
    """Seconds after which applying or taking back migrations is given up; `None`: never."""

    health_check_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] = 30
    """Seconds between two looks at the node's health."""

    environment: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9-]{0,64}$")] = ""
    """What the node runs as, for its status; presets set it to their name."""

    slow_query_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0, lt=2**53)] = 0.25
    """Seconds from which on a query stands in the log of slow ones."""

    shards: Annotated[dict[str, tuple[Annotated[Count, pydantic.Field(ge=0)], ...]], BeforeValidator(_parsed)] = {}
    """Numbers of the shards that this node holds, by model; a model that is not named is held whole."""

    placement: Annotated[dict[str, dict[Annotated[Count, pydantic.Field(ge=0)], Path]], BeforeValidator(_parsed)] = {}
    """Directories of the shards that have a store of their own, by model and number."""

    shard_threads: Annotated[Count, pydantic.Field(ge=1, le=64)] = 4
    """Stores of shards that a long query reads at once."""

    content_bytes: Annotated[Count, pydantic.Field(ge=0)] = 10 * 1024**3
    """Bytes of file content that this node keeps."""

    content_pins: Annotated[Count, pydantic.Field(ge=0)] = 10_000
    """Pieces of file content that this node keeps under rules."""

    log_bytes: Annotated[Count, pydantic.Field(ge=0)] = 0
    """Bytes of the log above which whole logs of other users go, those first whose owners wrote longest ago; 0: none go."""

    sweep_s: Annotated[float, BeforeValidator(_no_flag), pydantic.Field(gt=0)] = 60.0
    """Seconds between two looks at what content is worth keeping."""

    def held(self, model: str) -> frozenset[int] | None:
        """Return the numbers of the shards of a model that this node holds; `None`: all."""
        numbers = self.shards.get(model)
        return None if numbers is None else frozenset(numbers)

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, handler: ModelWrapValidatorHandler[Config], info: ValidationInfo) -> Config:
        """Say which place gave a wrong value: the context of the validation knows it, a program's own `Config` has none."""
        where = info.context or "debros.Config: {}".format
        try:
            return handler(values)
        except pydantic.ValidationError as error:
            raise ConfigError("; ".join(_told(problem, where) for problem in error.errors())) from error


PRESETS: Final[Mapping[Preset, Mapping[str, Any]]] = {
    "development": {
        "environment": "development",
        "durability": "process",
        "query_cache": 100,
        "query_cache_ttl_s": 60,
        "auto_migrate": True,
    },
    "production": {
        "environment": "production",
        "durability": "disk",
        "row_cache": 100_000,
        "query_cache": 10_000,
        "query_cache_ttl_s": 600,
    },
    "testing": {
        "environment": "testing",
        "durability": "process",
        "row_cache": 1_000,
        "query_cache": 0,
        "relation_cache": 0,
        "auto_migrate": True,
    },
}


TUNABLE: Final = frozenset({
    "auto_migrate", "concurrent_queries", "flush_rows", "health_check_s", "migration_timeout_s", "query_cache",
    "query_cache_bytes", "query_cache_ttl_s", "query_timeout_s", "relation_cache", "relation_cache_ttl_s", "row_cache",
    "shard_threads", "slow_query_s",
})  # fmt: skip
"""Settings that may be changed while a node is open."""


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a configuration with other values of some settings.

    Raises:
        ConfigError: a setting is unknown, has a wrong value, or is read only when a node is opened.
    """
    made = Config(**{**config.model_dump(), **settings})
    for name in settings:
        if name not in TUNABLE:
            raise ConfigError(
                f"{name} is read when a node is opened: close it, and open it with {name}={settings[name]!r}; "
                f"while it is open, {', '.join(sorted(TUNABLE))} can be changed"
            )
    return made


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of settings."""

    place: str
    values: Mapping[str, Any]
    prefix: str = ""  # of the names in that place

    def where(self, key: str) -> str:
        return f"{self.place}: {self.prefix + key.upper() if self.prefix else key}"


def load(
    home: Path | None,
    *,
    preset: str | Config | None,
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    cwd: Path | None,
) -> Config:
    """Gather the settings of a node from every source.

    Args:
        home: where the node lives; `None` in memory, where there is no `debros.toml`.
        preset: a preset's name, the lowest source; or a `Config`, of which the values that were given count.
        arguments: of `debros.open`; those that are `None` were not given.
        environ: environment variables; those that begin with `DEBROS_` are settings.
        cwd: where to begin the search for `pyproject.toml`; `None`: there is none.

    Raises:
        ConfigError: an unknown preset or setting, a wrong value, or a file that cannot be read as TOML.
    """
    given = preset.model_dump(exclude_unset=True) if isinstance(preset, Config) else {}
    return _merged(
        [
            Layer("debros.open", {key: value for key, value in arguments.items() if value is not None}),
            Layer("debros.Config", given),
            Layer("environment", _from_environ(environ), PREFIX),
            *_from_pyproject(cwd),
            *([] if home is None else _from_file(home / "debros.toml")),
            *([Layer(f"preset {preset!r}", _preset(preset))] if isinstance(preset, str) else []),
        ]
    )


def _merged(layers: Sequence[Layer]) -> Config:
    """Merge the layers setting by setting, the first counting most, and check the result."""

    def where(key: str) -> str:
        return next(layer for layer in layers if key in layer.values).where(key)

    return Config.model_validate(dict(ChainMap(*(dict(layer.values) for layer in layers))), context=where)


def _told(problem: ErrorDetails, where: Callable[[str], str]) -> str:
    """Say what is wrong, where, and what would be right."""
    key = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        cure = did_you_mean(key, Config.model_fields) or f"; settings are {', '.join(Config.model_fields)}"
        return f"{where(key)} is not a setting{cure}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "string_pattern_mismatch":
        message = "1 to 64 of a-z, 0-9 and -"
    return f"{where(key)} should be {message.removeprefix('is ')}, not {problem['input']!r}"


def _preset(name: str) -> Mapping[str, Any]:
    for known, values in PRESETS.items():
        if known == name:
            return values
    raise ConfigError(f"{name!r} is not a preset{did_you_mean(name, PRESETS) or '.'} Presets: {', '.join(PRESETS)}")


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX).lower(): text for name, text in environ.items() if name.startswith(PREFIX)}


def _from_pyproject(cwd: Path | None) -> list[Layer]:
    for folder in () if cwd is None else (cwd, *cwd.parents):
        if (path := folder / "pyproject.toml").is_file():
            tools = _toml(path).get("tool")
            if isinstance(tools, dict) and "debros" in tools:
                return [_table(f"{path} [tool.debros]", tools["debros"])]
            return []
    return []


def _from_file(path: Path) -> list[Layer]:
    return [_table(str(path), _toml(path))] if path.is_file() or path.is_dir() else []


def _table(place: str, values: object) -> Layer:
    if not isinstance(values, dict):
        raise ConfigError(f"{place} should be a table of settings, not {values!r}")
    return Layer(place, values)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors may put a mark first
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
