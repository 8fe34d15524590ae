"""Files and texts of settings: read with care, merged, checked, refused with the place at fault."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from physml.exceptions import InputError, SettingsError
from physml.io.files import require_file

MAX_CONFIG_BYTES = 4 << 20

Model = TypeVar("Model", bound=BaseModel)


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
    path = require_file(path, "a YAML or JSON file of settings", MAX_CONFIG_BYTES)
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
    model : type
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
