"""Types of settings: the immutable base model, and numbers with units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


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
    unit : str
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


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a truth value is not a whole number")
    return value


Count = Annotated[int, Field(gt=0), BeforeValidator(_no_bool)]
