"""Files made from the settings models: commented YAML and the JSON schema."""

from __future__ import annotations

import json
import textwrap
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .stages import Provision
from .types import Unit


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
    model : BaseModel or its class
        Settings, or their class for the defaults.
    header : str, optional
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
