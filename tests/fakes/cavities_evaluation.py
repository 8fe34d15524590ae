"""A detector that finds in simulated images what the simulator put there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from astropy.table import Table

from physml.cavities.evaluation.found import Images


class Oracle:
    """Finds what the truth says: the first cavities of each image with a given probability.

    It recognises images by their counts, so that it works through `find`.
    """

    def __init__(self, *known: Images, false_alarms: bool = False):
        self.truth = {
            images.counts[i].tobytes(): (images.mask[i], images.cavities[i])
            for images in known
            for i in range(len(images))
        }
        self.false_alarms = false_alarms
        self.card = {"version": "oracle"}

    def detect(self, counts, exposure=None, invalid=None):
        out = []
        for image in counts:
            mask, table = self.truth[image.tobytes()]
            rows = [r for k, r in enumerate(table) if r["visible"] and (mask == k + 1).any()]
            labels = np.zeros(mask.shape, np.int32)
            for number, k in enumerate([k for k in np.unique(mask) if k], start=1):
                labels[mask == k] = number
            names = {"semi_major": "a", "semi_minor": "b", "radius": "radius"}
            # The sealed set's cavities are no ellipses and have a radius only.
            known = table.dtype.names
            sources = {k: v if v in known else "radius" for k, v in names.items()}
            columns = {k: [r[sources.get(k, k)] for r in rows] for k in ("x", "y", *names)}
            columns["radius_err"] = [0.1 * r["radius"] for r in rows]
            columns["probability"] = [0.9 for _ in rows]
            if self.false_alarms:
                labels[:5, :5] = len(rows) + 1
                for name, value in zip(columns, (2, 2, 3, 3, 3, 1, 0.7), strict=True):
                    columns[name].append(value)
            probability = np.where(mask > 0, 0.97, 0.01).astype(np.float32)
            made = {"labels": labels, "probability": probability, "table": Table(columns)}
            out.append(SimpleNamespace(**made, threshold=0.5))
        return out
