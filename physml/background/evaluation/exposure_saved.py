r"""Exposure time that a cut saves on a faint extended source.

In a region, with rates of the source :math:`s`, of X-rays from the sky :math:`x` and of particles
that survive grading :math:`p`, a cut that keeps a share :math:`\epsilon` of the X-rays and removes
a share :math:`r` of the particles leaves after a time :math:`t`

.. math:: S = \epsilon s t, \qquad B = b t, \quad b = \epsilon x + (1 - r) p .

The background is measured elsewhere on the detector, with :math:`\kappa` times the area of the
region, and known at best to a share :math:`\sigma` of its particles, however long one looks. The
variance of :math:`S` is that of the counts, of the background taken off, and of what is not known:

.. math:: V = (\epsilon s + b)\, t + b\, t / \kappa + (\sigma (1 - r)\, p\, t)^2 .

A significance :math:`q = S / \sqrt{V}` therefore takes

.. math:: t = \frac{q^2 \left[\epsilon s + b (1 + 1/\kappa)\right]}
                   {(\epsilon s)^2 - (q \sigma (1 - r) p)^2} ,

and a source below :math:`s_\mathrm{min} = q \sigma (1 - r) p / \epsilon` is never found. For a
faint source (:math:`s \ll b`), :math:`\sigma = 0` and :math:`x \ll p` the times with and without a
cut are as :math:`(1 - r) / \epsilon^2`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ARCMIN2_SR = (np.pi / 180 / 60) ** 2
#: Exposure for which the faintest source is given, s.
SECONDS = 1e5
#: Share of the background that is not known, where it is not known exactly.
SYSTEMATIC = 0.02


@dataclass(frozen=True)
class Region:
    """Rates in the region of a source, in one band.

    Attributes
    ----------
    source, sky, particles : float
        Counts a second: of the source, of X-rays from the sky, of particles that survive grading.
    background_area : float
        Area in which the background is measured over that of the region.
    systematic : float
        Share of the particles' rate that stays unknown however long one looks.
    """

    source: float
    sky: float
    particles: float
    background_area: float = np.inf
    systematic: float = 0.0


def exposure_time(
    region: Region, significance: float, *, retention: float = 1.0, removed: float = 0.0
) -> float:
    """Time in which a source reaches a significance.

    Parameters
    ----------
    region : Region
    significance : float
        In standard deviations.
    retention, removed : float
        Share of the X-rays that stays, and of the particles that goes; without a cut 1 and 0.

    Returns
    -------
    float
        Seconds; inf where the systematic error hides the source.

    Raises
    ------
    ValueError
        A share is not in [0, 1], nothing is retained, or a rate is negative.
    """
    _check(region, retention, removed)
    kept = retention * region.source
    particles = (1 - removed) * region.particles
    background = retention * region.sky + particles
    rate_of_variance = kept + background * (1 + 1 / region.background_area)
    signal = kept**2 - (significance * region.systematic * particles) ** 2
    return significance**2 * rate_of_variance / signal if signal > 0 else np.inf


def time_saved(region: Region, significance: float, *, retention: float, removed: float) -> float:
    """Share of the exposure time that a cut saves; negative where it costs time.

    1 where only the cut lets the source be found at all; NaN where it is not found either way.
    """
    before = exposure_time(region, significance)
    after = exposure_time(region, significance, retention=retention, removed=removed)
    if np.isinf(before):
        return 1.0 if np.isfinite(after) else np.nan
    return 1 - after / before


def faintest_source(
    region: Region,
    significance: float,
    seconds: float,
    *,
    retention: float = 1.0,
    removed: float = 0.0,
) -> float:
    """Rate of the faintest source that reaches a significance in a time [counts/s].

    The inverse of `exposure_time` in the source's rate, which `region` need not know.
    """
    _check(region, retention, removed)
    particles = (1 - removed) * region.particles
    background = retention * region.sky + particles
    # (e s t)^2 - q^2 e s t - q^2 [b t (1 + 1/k) + (sigma p t)^2] = 0, in the counts e s t.
    q2 = significance**2
    rest = background * seconds * (1 + 1 / region.background_area)
    rest += (region.systematic * particles * seconds) ** 2
    counts = 0.5 * (q2 + np.sqrt(q2**2 + 4 * q2 * rest))
    return float(counts / (retention * seconds))


def _check(region: Region, retention: float, removed: float) -> None:
    if not 0 < retention <= 1 or not 0 <= removed <= 1:
        raise ValueError(
            f"expected a retention in (0, 1] and a removed share in [0, 1], found {retention:g} "
            f"and {removed:g}"
        )
    if min(region.source, region.sky, region.particles, region.systematic) < 0:
        raise ValueError(f"expected rates that are not negative, found {region}")


@dataclass(frozen=True)
class Telescope:
    """An instrument and a faint extended source, for the worked example.

    Attributes
    ----------
    focal_length_m : float
        Plate scale; 12 m for Athena.
    effective_area_cm2 : float
        Mean over the band. 4,000 cm2 in 2-7 keV lies between the 1.4 m2 at 1 keV and 0.25 m2 at
        6 keV that Athena was planned for.
    band : tuple of float
        keV.
    region_arcmin2 : float
        Area of the source.
    brightness : float
        Surface brightness of the source over that of the particles which survive grading.
    unresolved : float
        Share of the cosmic X-ray background that is left when point sources are masked.
    background_area, systematic, significance : float
        See `Region`.
    """

    focal_length_m: float = 12.0
    effective_area_cm2: float = 4000.0
    band: tuple[float, float] = (2.0, 7.0)
    region_arcmin2: float = 50.0
    brightness: float = 0.05
    unresolved: float = 0.2
    background_area: float = 4.0
    systematic: float = 0.0
    significance: float = 5.0

    @property
    def cm2_per_arcmin2(self) -> float:
        """Area of the detector that sees a square arcminute."""
        return (100 * self.focal_length_m) ** 2 * ARCMIN2_SR

    def region(self, particle_rate: float) -> Region:
        """Rates of the example.

        Parameters
        ----------
        particle_rate : float
            Counts /cm2/s in the band that survive grading.
        """
        particles = particle_rate * self.cm2_per_arcmin2 * self.region_arcmin2
        sky = cosmic_background(self.band) * self.effective_area_cm2 * ARCMIN2_SR
        return Region(
            source=self.brightness * particles,
            sky=self.unresolved * sky * self.region_arcmin2,
            particles=particles,
            background_area=self.background_area,
            systematic=self.systematic,
        )


def cosmic_background(band: tuple[float, float]) -> float:
    """Cosmic X-ray background in a band within 2-10 keV [photons /cm2/s/sr].

    Power law of photon index 1.4 with 10.9 photons /cm2/s/sr/keV at 1 keV (Hickox & Markevitch
    2006, ApJ 645, 95).
    """
    low, high = band
    return 10.9 / 0.4 * (low**-0.4 - high**-0.4)


def worked_example(
    particle_rate: float,
    cuts: dict[float, tuple[float, float, float]],
    telescope: Telescope | None = None,
) -> dict[str, object]:
    """Exposure time saved at each retention.

    Parameters
    ----------
    particle_rate : float
        Counts /cm2/s in the telescope's band that survive grading.
    cuts : dict
        Retention -> share of the particles removed, and the ends of its interval.
    telescope : Telescope, optional

    Returns
    -------
    dict
        ``particles``, ``sky``, ``source`` [counts/s]; ``seconds`` without a cut; ``rows``: for
        each retention ``removed``, ``seconds``, ``saved`` (value, low, high), ``faintest``
        (faintest source over that without a cut), ``faintest_systematic`` (the same with the
        systematic error).
    """
    t = telescope or Telescope()
    region = t.region(particle_rate)
    unsure = replace(region, systematic=SYSTEMATIC)
    limits = [faintest_source(r, t.significance, SECONDS) for r in (region, unsure)]
    rows = []
    for retention, shares in sorted(cuts.items(), reverse=True):
        value, low, high = shares

        def saved(removed: float, retention: float = retention) -> float | None:
            if not np.isfinite(removed):
                return None
            return time_saved(region, t.significance, retention=retention, removed=removed)

        after = [
            faintest_source(r, t.significance, SECONDS, retention=retention, removed=value)
            for r in (region, unsure)
        ]
        seconds = exposure_time(region, t.significance, retention=retention, removed=value)
        rows.append(
            {
                "retention": retention,
                "removed": value,
                "seconds": seconds,
                "saved": {"value": saved(value), "low": saved(low), "high": saved(high)},
                "faintest": after[0] / limits[0],
                "faintest_systematic": after[1] / limits[1],
            }
        )
    return {
        "particles": region.particles,
        "sky": region.sky,
        "source": region.source,
        "seconds": exposure_time(region, t.significance),
        "exposure_s": SECONDS,
        "systematic": SYSTEMATIC,
        "significance": t.significance,
        "rows": rows,
    }
