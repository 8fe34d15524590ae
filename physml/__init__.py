"""physml: simulate, train, measure and apply machine learning on physics data.

>>> import physml
>>> result = physml.load("cavities").predict("image.fits")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from physml.models import Model as Model
    from physml.models import load as load

__version__ = "0.1.0"

# Imported on first use: `physml --help` must not wait for torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"models": ["Model", "load"]}
)
__all__ += ["__version__"]
