"""How far the gas of an image departs from a symmetric halo on large scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..candidate import Candidate
from ..detector import relative
from ..search import Search
from .build import build, without_outliers
from .cells import FieldImage
from .fit import fit
from .listed import lies_in, on_field
from .model import LARGEST
from .null import Null

Array = NDArray[np.float64]


def asymmetry(search: Search, cavities: Sequence[Candidate]) -> Array:
    """Factor on the gas by its harmonics m = 1 and 2, on input pixels, shape (H, W).

    It is fitted in the field of the coarsest binning, the cavities along with it, so that these do
    not count as asymmetry. Outside of that field it is that of its edge; without a fitted halo 1.

    Parameters
    ----------
    search : Search
    cavities : sequence of Candidate
        Cavities of the image.
    """
    field, detection = search.fields[-1], search.detections[-1]
    halo = getattr(detection, "halo", None)
    if halo is None:
        return np.ones(search.shape)
    image = FieldImage(
        field.counts, relative(field.exposure), field.background, field.invalid, halo
    )
    model = build(image, [on_field(c, field) for c in cavities if lies_in(c, field)])
    fitted = fit(model, model.mean)
    cleaned = without_outliers(model, fitted.theta, image)
    if cleaned is not None:
        model = cleaned
        fitted = fit(model, fitted.theta)
    y, x = (i.ravel().astype(float) for i in np.indices(field.counts.shape))
    here = Null.at(x, y, image.centre, model.null.end)
    lopsided = here.order > 0
    log_factor = here.basis[:, lopsided] @ fitted.theta[: model.smooth][lopsided]
    factor = np.exp(np.clip(log_factor, -LARGEST, LARGEST)).reshape(field.counts.shape)
    return np.asarray(field.interpolate(factor, search.shape))
