"""physml: simulate, train, measure and apply machine learning on physics data.

>>> from physml import Model
>>> cavities = Model.load("cavities").predict("image.fits")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physml.models import Model

__version__ = "0.1.0"
__all__ = ["Model", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Model` on first use: `physml --help` must not wait for it."""
    if name == "Model":
        from physml.models import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
