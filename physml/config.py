"""Settings: checked types with units, loading and merging, and the files generated from them.

Each stage of each pipeline has one model. Unknown keys are refused, values are immutable, every
field has a description. ``config.yaml`` and its JSON schema are generated from the models, so
that they cannot disagree with what the program accepts.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import textwrap
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from physml.exceptions import InputError, SettingsError
from physml.pipeline import STAGES

MAX_CONFIG_BYTES = 4 << 20


class Settings(BaseModel):
    """Base of all settings: unknown keys refused, immutable, finite, defaults checked too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    #: Field that a text stands for where it is given instead of a section; none by default.
    shorthand: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, value: Any) -> Any:
        return {cls.shorthand: value} if cls.shorthand and isinstance(value, str) else value


# ------------------------------------------------------------------------------------- quantities


@lru_cache(maxsize=1)
def _astropy_units() -> Any:
    import astropy.units  # 0.2 s: only where a unit is written out

    return astropy.units


@dataclass(frozen=True)
class Unit:
    """Metadata of a field: the unit of its number, and the reader of texts such as "0.5 deg"."""

    name: str

    def parse(self, value: Any) -> Any:
        """Return the number in this unit; what is neither text nor number is left to pydantic.

        Raises
        ------
        ValueError
            Not a number with a unit, or a unit that does not convert.
        """
        if isinstance(value, bool):
            raise ValueError(f"a truth value is not a number in {self.name}")
        if not isinstance(value, str):
            return value
        try:
            return float(value)  # "1e-3", which YAML 1.1 takes for a text
        except ValueError:
            pass
        units = _astropy_units()
        try:
            quantity = units.Quantity(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{value!r} is not a number with a unit, such as '1.5 {self.name}'"
            ) from error
        try:
            return float(quantity.to_value(self.name))
        except (units.UnitConversionError, TypeError) as error:
            raise ValueError(f"{value!r} cannot be converted to {self.name}") from error

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        number = dict(handler(schema))
        text = {
            "type": "string",
            "pattern": r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*\S*\s*$",
        }
        return {"anyOf": [number, text], "unit": self.name}


def quantity(unit: str) -> Any:
    """Type of a float in `unit` that also accepts a text with any unit that converts to it.

    Parameters
    ----------
    unit
        Name that astropy knows, e.g. ``"deg"``.

    Examples
    --------
    >>> class Example(Settings):
    ...     angle: quantity("deg") = 0.0
    >>> Example(angle="30 arcmin").angle
    0.5
    """
    return Annotated[float, Unit(unit)]


Degrees = Annotated[float, Unit("deg")]
Arcsec = Annotated[float, Unit("arcsec")]
Pixels = Annotated[float, Unit("pix")]
Seconds = Annotated[float, Unit("s")]
Minutes = Annotated[float, Unit("min")]
KiloElectronVolt = Annotated[float, Unit("keV")]
MegaElectronVolt = Annotated[float, Unit("MeV")]
Micrometres = Annotated[float, Unit("um")]
Millimetres = Annotated[float, Unit("mm")]
Kiloparsec = Annotated[float, Unit("kpc")]


# ------------------------------------------------------------------------------------ base models


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a truth value is not a whole number")
    return value


Count = Annotated[int, Field(gt=0), BeforeValidator(_no_bool)]


class Provision(Settings):
    """Base of settings that say with what a stage is run; they change no result."""


class ResourceSettings(Provision):
    """What a job of this stage asks for; changes no result."""

    threads: Count = Field(1, description="CPU threads of the job")
    mem_mb: Count = Field(2000, description="Memory of the job, MB")
    runtime_min: Count = Field(60, description="Longest run of the job, minutes")
    gpu: int = Field(0, description="GPUs of the job", ge=0)


class StageSettings(Settings):
    """Base of the settings of one stage."""

    resources: ResourceSettings = Field(
        ResourceSettings(), description="What a job of this stage asks for; changes no result"
    )


class SimulateBase(StageSettings):
    """What the simulation of every pipeline has."""

    n_samples: int = Field(1000, description="Number of samples", gt=0)
    shard_size: int = Field(500, description="Samples in a file; changes no sample", gt=0)

    @property
    def n_shards(self) -> int:
        """Number of files; the last one may be smaller."""
        return math.ceil(self.n_samples / self.shard_size)

    def indices(self, shard: int) -> range:
        """Return the indices of the samples in one file.

        Raises
        ------
        SettingsError
            No such shard.
        """
        if not 0 <= shard < self.n_shards:
            raise SettingsError(
                f"no shard {shard}: {self.n_samples} samples in shards of {self.shard_size} "
                f"make shards 0 to {self.n_shards - 1}"
            )
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.n_samples))


class PipelineSettings(Settings):
    """Base of the settings of a pipeline: a seed and one model for each stage."""

    seed: int = Field(0, description="Root of all random streams", ge=0)
    simulate: SimulateBase = SimulateBase()
    preprocess: StageSettings = StageSettings()
    train: StageSettings = StageSettings()
    evaluate: StageSettings = StageSettings()
    report: StageSettings = StageSettings()


Model = TypeVar("Model", bound=BaseModel)


# ---------------------------------------------------------------------------------------- loading


class _Loader(yaml.SafeLoader):
    """Safe YAML that knows 1e-3 for a number and refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot and a sign in an exponent; everybody writes 1e-3.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def read_config(path: Path) -> dict[str, Any]:
    """Read one YAML or JSON file of settings into a dictionary.

    Raises
    ------
    InputError
        No such file, too large, not YAML, or not a mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError.expected(path, "a YAML or JSON file of settings", "no such file")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise InputError.expected(
            path, f"at most {MAX_CONFIG_BYTES} bytes of settings", f"{path.stat().st_size} bytes"
        )
    try:
        text = path.read_text(encoding="utf-8")
        if len(re.findall(r"(?:^|[\s\[{,])\*\w", text)) > 100:
            # Aliases of aliases grow exponentially when they are walked through.
            raise InputError.expected(path, "at most 100 YAML aliases", "more")
        value = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        detail = " ".join(str(error).split())
        raise InputError.expected(path, "YAML", f"something else ({detail})") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError.expected(path, "a mapping of settings", f"a {type(value).__name__}")
    return value


def _submodel(field: FieldInfo | None) -> type[BaseModel] | None:
    """Model that a field holds, if it holds one (also ``Model | None``)."""
    if field is None:
        return None
    annotation = field.annotation
    candidates = (
        get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    )
    models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
    return models[0] if len(models) == 1 else None


def _merge(
    model: type[BaseModel],
    target: dict[str, Any],
    new: Mapping[str, Any],
    origin: str,
    origins: dict[str, str],
    prefix: str = "",
) -> None:
    """Merge `new` into `target`, section by section; a mapping that is one value is replaced."""
    for key, value in new.items():
        dotted = f"{prefix}{key}"
        origins[dotted] = origin
        field = model.model_fields.get(key) if isinstance(key, str) else None
        inner = _submodel(field)
        short = getattr(inner, "shorthand", None)
        if short and isinstance(value, str):
            value = {short: value}
        if inner is not None and isinstance(value, Mapping):
            section = target.get(key)
            target[key] = dict(section) if isinstance(section, Mapping) else {}
            _merge(inner, target[key], value, origin, origins, f"{dotted}.")
        else:
            target[key] = value


def load_settings(model: type[Model], *sources: Path | str | Mapping[str, Any]) -> Model:
    """Merge sources of settings, later ones over earlier ones, and check the result.

    Parameters
    ----------
    model
        Class of the settings.
    *sources
        Paths of YAML or JSON files, or dictionaries. What none of them gives has its default.

    Raises
    ------
    SettingsError
        With the source, the dotted key, what came and what is allowed.
    InputError
        A file cannot be read.
    """
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        if isinstance(source, Mapping):
            _merge(model, merged, source, "given settings", origins)
        else:
            _merge(model, merged, read_config(Path(source)), str(source), origins)
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        lines = [
            _explain(model, merged, problem, origins) for problem in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(lines)) from error


def _explain(
    model: type[BaseModel], given: Mapping[str, Any], problem: Any, origins: Mapping[str, str]
) -> str:
    """One line for one pydantic error: source, dotted key, what came, what is allowed."""
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    origin = next(
        (
            origins[prefix]
            for n in range(len(location), 0, -1)
            if (prefix := ".".join(location[:n])) in origins
        ),
        "defaults",
    )
    if problem["type"] == "extra_forbidden":
        parent = _walk(model, location[:-1])
        known = list(parent.model_fields) if parent else []
        close = difflib.get_close_matches(location[-1], known, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else ""
        return f"{origin}: {dotted}: no such setting{guess} (known here: {', '.join(known)})"
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(_given(given, problem["loc"], problem["input"]))
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return f"{origin}: {dotted or 'settings'}: {message} (got {shown})"


def _given(value: Any, location: tuple[Any, ...], converted: Any) -> Any:
    """Return the value as it was given: pydantic shows it after the conversion of its unit."""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return converted
    return value


def _walk(model: type[BaseModel], location: list[str]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            return None
        current = _submodel(current.model_fields.get(part))
    return current


# --------------------------------------------------------------------- what a stage depends on


def _without_provision(settings: BaseModel) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    dumped = settings.model_dump(mode="json")
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Provision):
            continue
        kept[name] = _without_provision(value) if isinstance(value, BaseModel) else dumped[name]
    return kept


def upstream(settings: PipelineSettings, stage: str) -> dict[str, Any]:
    """Collect what the result of a stage depends on: its settings, all before it, and the seed.

    `Provision` is left out, since it changes no result. Two runs with equal upstream settings
    (and stage versions) give the same artefact; a workflow re-runs a stage when this changes.

    Returns
    -------
    dict
        Plain JSON values; `load_settings` accepts it.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
    needed = STAGES[: STAGES.index(stage) + 1]
    everything = _without_provision(settings)
    return {
        name: value for name, value in everything.items() if name in needed or name not in STAGES
    }


# -------------------------------------------------------------------------------- generated files


def _instance(model: BaseModel | type[BaseModel]) -> BaseModel:
    return model() if isinstance(model, type) else model


def _units(field: FieldInfo) -> list[str]:
    """Names of the units in a field's type, inside tuples and unions too."""
    found = [m.name for m in field.metadata if isinstance(m, Unit)]

    def search(annotation: Any) -> None:
        for argument in get_args(annotation):
            found.extend(
                m.name for m in getattr(argument, "__metadata__", ()) if isinstance(m, Unit)
            )
            search(argument)

    search(field.annotation)
    return list(dict.fromkeys(found))


_LIMITS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("multiple_of", "multiple of"))


def _allowed(field: FieldInfo) -> str:
    """Words for what a field accepts: its range or its choices."""
    words: list[str] = []
    metadata = list(field.metadata)
    while metadata:
        item = metadata.pop(0)
        if isinstance(item, FieldInfo):
            metadata.extend(item.metadata)
        for attribute, symbol in _LIMITS:
            limit = getattr(item, attribute, None)
            if isinstance(limit, int | float):
                words.append(f"{symbol} {limit:g}")
    origin = get_origin(field.annotation)
    if origin is not None and getattr(origin, "__name__", str(origin)).endswith("Literal"):
        words.append("one of " + ", ".join(map(str, get_args(field.annotation))))
    return ", ".join(dict.fromkeys(words))


def _leaf(value: Any) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _section(settings: BaseModel, indent: int, lines: list[str]) -> None:
    pad = " " * indent
    dumped = settings.model_dump(mode="json")
    fields = type(settings).model_fields.items()
    # What a stage is run with comes last: it is not what one reads a configuration for.
    for name, field in sorted(
        fields, key=lambda item: isinstance(getattr(settings, item[0]), Provision)
    ):
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            text = field.description or (type(value).__doc__ or name).strip().splitlines()[0]
            if indent == 0:
                lines.append("")
            lines.extend(_comment(text, indent))
            if type(value).model_fields:
                lines.append(f"{pad}{name}:")
                _section(value, indent + 2, lines)
            else:
                lines.append(f"{pad}{name}: {{}}")
            continue
        leaf = _leaf(dumped[name])
        parts = [field.description or name]
        parts += [f"[{unit}]" for unit in _units(field) if unit not in parts[0].split()]
        allowed = _allowed(field)
        default = _default(field)
        notes = [f"default {default}"] if default is not None else []
        notes += [allowed] if allowed else []
        parts += [f"({'; '.join(notes)})"] if notes else []
        lines.extend(_comment(" ".join(parts), indent))
        lines.append(f"{pad}{name}: {leaf}")


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, tuple):
        value = list(value)
    try:
        return _leaf(value)
    except yaml.YAMLError:
        return str(value)


def _comment(text: str, indent: int) -> list[str]:
    start = " " * indent + "# "
    return textwrap.wrap(
        " ".join(text.split()),
        width=100,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )


def dump_yaml(model: BaseModel | type[BaseModel], header: str | None = None) -> str:
    """Write settings as YAML: before each, a comment with description, unit, default and range.

    Parameters
    ----------
    model
        Settings, or their class for the defaults.
    header
        Text of a comment at the top; the model's docstring where None.

    Returns
    -------
    str
        Valid YAML; loading it gives equal settings.
    """
    settings = _instance(model)
    title = header if header is not None else (type(settings).__doc__ or "Settings").strip()
    lines = [f"# {line}".rstrip() for line in title.splitlines()]
    _section(settings, 0, lines)
    return "\n".join(lines) + "\n"


def dump_schema(model: BaseModel | type[BaseModel]) -> str:
    """JSON schema of the settings, for editors and for workflows."""
    cls = model if isinstance(model, type) else type(model)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **cls.model_json_schema()}
    return json.dumps(_standard_limits(schema), indent=2) + "\n"


_JSON_LIMITS = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
}


def _standard_limits(node: Any) -> Any:
    """Give limits their names in JSON schema: pydantic leaves its own on types with a validator."""
    if isinstance(node, list):
        return [_standard_limits(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _standard_limits(value) for key, value in node.items()}
    if "anyOf" in result or "type" in result:
        limits = {name: result.pop(old) for old, name in _JSON_LIMITS.items() if old in result}
        numbers = [n for n in result.get("anyOf", [result]) if n.get("type") != "string"]
        for number in numbers:
            number.update(limits)
    return result
