"""Region files in text: DS9's and CIAO's, against discs by hand and the parser of `regions`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import BarycentricMeanEcliptic, Supergalactic
from astropy.io import fits
from fakes.cavities import tan_wcs
from regions import PixCoord, Regions

from physml.cavities.data.masks import read_mask
from physml.exceptions import InputError
from physml.io.fits import open_image

SHAPE = (120, 160)
CHANDRA = {"LTM1_1": 0.5, "LTM2_2": 0.5, "LTV1": -1000.0, "LTV2": -1900.0}
DS9 = "# Region file format: DS9 version 4.1\nglobal color=green dashlist=8 3 width=1\n"


def disc(x, y, radius):
    Y, X = np.indices(SHAPE)
    return (X - x) ** 2 + (Y - y) ** 2 < radius**2


def read(tmp_path, text, wcs=None, header=None, shape=SHAPE):
    path = tmp_path / "mask.reg"
    path.write_text(text)
    return read_mask(path, np.ones(shape), wcs, header)


def masked(tmp_path, text, wcs=None, header=None):
    return read(tmp_path, text, wcs, header).pixels


def test_plain_text_counts_pixels_from_one(tmp_path):
    found = masked(tmp_path, "# x y radius\n31 21 5.5\n60, 40, 3.2\n")
    np.testing.assert_array_equal(found, disc(30, 20, 5.5) | disc(59, 39, 3.2))


@pytest.mark.parametrize(
    "text",
    [
        DS9 + "image\ncircle(31,21,5.5) # text={a; b} color=red\n",
        DS9 + "IMAGE;circle(31,21,5.5)\n",
        DS9 + "image; circle 31 21 5.5 # tag={x}\n",
        DS9 + "image\ncircle( 31 , 21 , 5.5i ) ||\n",
        "image;-circle(31,21,5.5)\n",
        "image\n!circle(31,21,5.5)\n",
        "\ufeffimage\r\ncircle(31,21,5.5)\r\n",
        "physical\nimage;circle(31,21,5.5);physical\n",
        "physical\ncircle(31i,21i,5.5i)\n",
    ],
)
def test_one_circle_in_many_forms(tmp_path, text):
    np.testing.assert_array_equal(masked(tmp_path, text), disc(30, 20, 5.5))


@pytest.mark.parametrize(
    "text",
    [
        "physical\ncircle(2062,3842,11)\n",
        "# CIAO version 1.0\ncircle(2062,3842,11)\n",
        "image\ncircle(31,21,11p)\n",
        "physical\ncircle(2062,3842,5.5i)\n",
        "image\ncircle(2062p,3842p,11p)\n",
        "rotbox(2062,3842,0,0,3)+circle(2062,3842,11)\n",
    ],
)
@pytest.mark.parametrize("system", ["LTM", "P", "L", "both"])
def test_physical_pixels(tmp_path, text, system):
    # image = 0.5 physical - 1000: physical 2062 is image 31, 1-based.
    key = "L" if system == "L" else "P"
    wcs = {
        f"WCSNAME{key}": "PHYSICAL", f"CTYPE1{key}": "x", f"CTYPE2{key}": "y",
        f"CRPIX1{key}": 0.5, f"CRVAL1{key}": 2001.0, f"CDELT1{key}": 2.0,
        f"CRPIX2{key}": 0.5, f"CRVAL2{key}": 3801.0, f"CDELT2{key}": 2.0,
    }  # fmt: skip
    header = fits.Header({"LTM": CHANDRA, "P": wcs, "L": wcs, "both": CHANDRA | wcs}[system])
    found = read(tmp_path, text.replace("rotbox(2062,3842,0,0,3)+", ""), None, header)
    np.testing.assert_array_equal(found.pixels, disc(30, 20, 5.5))
    assert found.remarks == []


def test_physical_pixels_that_disagree_or_lack(tmp_path):
    wrong = fits.Header(
        CHANDRA
        | {
            "WCSNAMEP": "PHYSICAL",
            "CRVAL1P": 5.0,
            "CRPIX1P": 1.0,
            "CDELT1P": 2.0,
            "CDELT2P": 2.0,
            "CTYPE1P": "x",
            "CTYPE2P": "y",
        }
    )
    with pytest.raises(InputError, match="two others"):
        masked(tmp_path, "physical\ncircle(31,21,5)\n", None, wrong)
    for header in (None, fits.Header()):
        found = read(tmp_path, "circle(31,21,5.5)\n", None, header)
        np.testing.assert_array_equal(found.pixels, disc(30, 20, 5.5))
        assert "taken as image pixels" in found.remarks[0]


def test_a_turned_and_mirrored_physical_system(tmp_path):
    header = {"LTM1_1": 0.0, "LTM1_2": 2.0, "LTM2_1": 2.0, "LTM2_2": 0.0, "LTV1": 5, "LTV2": -3}
    # image x = 2 physical y + 5, image y = 2 physical x - 3: an ellipse along x lies along y.
    found = masked(tmp_path, "physical\nellipse(20,30,8,3,0)\n", None, fits.Header(header))
    Y, X = np.indices(SHAPE)
    expected = ((Y + 1 - 37) / 16) ** 2 + ((X + 1 - 65) / 6) ** 2 < 1
    np.testing.assert_array_equal(found, expected)


PLACE = (70.0, 55.0)


@pytest.mark.parametrize("rotation", [0.0, 143.0])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("frame", ["icrs", "fk5", "fk4", "galactic", "ecliptic", "supergalactic"])
def test_sky_frames(tmp_path, frame, mirrored, rotation):
    wcs = tan_wcs(SHAPE, pixel=2.0, rotation=rotation)
    if mirrored:
        wcs.wcs.cd = wcs.wcs.cd @ np.diag([-1, 1])
        wcs.wcs.set()
    place = wcs.pixel_to_world(*PLACE)
    named = {"ecliptic": BarycentricMeanEcliptic(), "supergalactic": Supergalactic()}
    there = place.transform_to(named.get(frame, frame)).spherical
    for size in ('11.5"', "11.5''", f"{11.5 / 60:.9f}'", f"{11.5 / 3600:.9f}", "5.75i", "5.75p"):
        text = f"{frame}; circle({there.lon.deg:.8f},{there.lat.deg:.8f},{size}) # color=red\n"
        found = masked(tmp_path, text, wcs)
        np.testing.assert_array_equal(found, disc(*PLACE, 5.75), err_msg=size)


def test_sexagesimal_positions(tmp_path):
    wcs = tan_wcs(SHAPE, pixel=2.0)
    place = wcs.pixel_to_world(*PLACE)
    hours = place.ra.to_string("hourangle", sep=":", precision=6)
    letters = place.ra.to_string("hourangle", sep="hms", precision=6)
    degrees = place.dec.to_string("deg", sep=":", precision=5, alwayssign=True)
    dms = place.dec.to_string("deg", sep="dms", precision=5, alwayssign=True)
    texts = [
        f'icrs;circle({hours},{degrees},11.5")',
        f'icrs;circle({letters},{dms},11.5")',
        f'icrs;circle({place.ra.deg:.9f}d,{place.dec.deg:.9f}d,11.5")',
        f'circle({hours},{degrees},11.5")',  # CIAO: FK5, milliarcseconds from ICRS
        f'physical;circle({hours},{degrees},11.5")',
    ]
    galactic = place.galactic
    lon = galactic.l.to_string("deg", sep=":", precision=6)  # degrees, not hours
    lat = galactic.b.to_string("deg", sep=":", precision=6)
    texts.append(f'galactic;circle({lon},{lat},11.5")')
    for text in texts:
        np.testing.assert_array_equal(
            masked(tmp_path, text + "\n", wcs), disc(*PLACE, 5.75), err_msg=text
        )
    south = tan_wcs(SHAPE, pixel=2.0, dec=-0.05)
    place = south.pixel_to_world(*PLACE)
    assert -1 < place.dec.deg < 0  # minus nought degrees
    text = (
        f'icrs;circle({place.ra.deg:.8f},{place.dec.to_string("deg", sep=":", precision=5)},8.3")'
    )
    np.testing.assert_array_equal(masked(tmp_path, text, south), disc(*PLACE, 4.15))


def test_several_frames_in_one_file(tmp_path):
    wcs = tan_wcs(SHAPE, pixel=2.0)
    sky = wcs.pixel_to_world(100, 90)
    text = (
        f'{DS9}fk5\ncircle({sky.fk5.ra.deg:.8f},{sky.fk5.dec.deg:.8f},10.5")\n'
        f"image\ncircle(31,21,5.5)\nphysical\ncircle(2162,3902,9)\n"
        f'galactic;circle({sky.galactic.l.deg:.8f},{sky.galactic.b.deg:.8f},6")\n'
    )
    found = masked(tmp_path, text, wcs, fits.Header(CHANDRA))
    np.testing.assert_array_equal(
        found, disc(100, 90, 5.25) | disc(30, 20, 5.5) | disc(80, 50, 4.5)
    )


def test_all_shapes_with_an_area(tmp_path):
    Y, X = np.indices(SHAPE)
    angle = np.degrees(np.arctan2(Y - 40, X - 60)) % 360
    radius = np.hypot(X - 60, Y - 40)
    across, along = np.abs(X - 60), np.abs(Y - 40)
    wedge = (angle >= 300) | (angle <= 45)
    cases = {
        "ellipse(61,41,20.5,8.5,0)": ((X - 60) / 20.5) ** 2 + ((Y - 40) / 8.5) ** 2 < 1,
        "ellipse(61,41,20.5,8.5,90)": ((X - 60) / 8.5) ** 2 + ((Y - 40) / 20.5) ** 2 < 1,
        "ellipse(61,41,5,4,15.5,12.5,0)": (((X - 60) / 15.5) ** 2 + ((Y - 40) / 12.5) ** 2 < 1)
        & (((X - 60) / 5) ** 2 + ((Y - 40) / 4) ** 2 >= 1),
        "box(61,41,21,7,0)": (across < 10.5) & (along < 3.5),
        "box(61,41,21,7)": (across < 10.5) & (along < 3.5),
        "rotbox(61,41,21,7,90)": (across < 3.5) & (along < 10.5),
        "box(61,41,9,5,21,17,0)": (across < 10.5) & (along < 8.5)
        & ~((across < 4.5) & (along < 2.5)),
        "rectangle(50.5,30.5,71.5,45.5)": (X >= 50) & (X <= 70) & (Y >= 30) & (Y <= 44),
        "annulus(61,41,6.5,12.5)": (radius >= 6.5) & (radius < 12.5),
        "annulus(61,41,0,12.5)": radius < 12.5,
        "annulus(61,41,3.5,6.5,12.5)": (radius >= 3.5) & (radius < 12.5),
        "annulus(61,41,3.5,12.5,n=3)": (radius >= 3.5) & (radius < 12.5),
        "pie(61,41,5.5,20.5,300,45)": wedge & (radius >= 5.5) & (radius <= 20.5),
        "pie(61,41,0,20.5,0,360)": radius <= 20.5,
        "panda(61,41,300,405,4,5.5,20.5,2)": wedge & (radius >= 5.5) & (radius <= 20.5),
        "sector(61,41,300,45)*circle(61,41,30.5)": wedge & (radius < 30.5),
        "polygon(40.5,40.3,60.5,40.3,60.5,60.3)": (X >= 40) & (X <= 59) & (Y >= 40) & (Y < X),
        "poly(40.5,30.5,60.5,30.5,60.5,50.5,40.5,50.5)": (X >= 40) & (X < 60)
        & (Y >= 30) & (Y < 50),
    }  # fmt: skip
    for text, expected in cases.items():
        for form in (text, text.upper()):
            found = masked(tmp_path, f"image\n{form}\n")
            # Pixels on an edge may fall to either side.
            assert (found != expected).sum() <= 0.03 * expected.sum() + 2, form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("circle(60,80,10)+circle(110,60,8)", disc(59, 79, 10) | disc(109, 59, 8)),
        ("circle(60,80,10) + circle(110,60,8)", disc(59, 79, 10) | disc(109, 59, 8)),
        ("circle(60,80,10)|circle(110,60,8)", disc(59, 79, 10) | disc(109, 59, 8)),
        ("circle(60,80,10)circle(110,60,8)", disc(59, 79, 10) | disc(109, 59, 8)),
        ("+circle(60,80,10)", disc(59, 79, 10)),
        ("circle(60,80,20)-circle(65,80,8)", disc(59, 79, 20) & ~disc(64, 79, 8)),
        ("circle(60,80,20)*!circle(65,80,8)", disc(59, 79, 20) & ~disc(64, 79, 8)),
        ("circle(60,80,20)&circle(75,80,20)", disc(59, 79, 20) & disc(74, 79, 20)),
        ("circle(60,80,20)*circle(75,80,20)-circle(66,80,3)",
         disc(59, 79, 20) & disc(74, 79, 20) & ~disc(65, 79, 3)),
        # What binds stronger: the second circle alone is cut.
        ("circle(60,80,20)+circle(75,80,20)-circle(66,80,3)",
         disc(59, 79, 20) | (disc(74, 79, 20) & ~disc(65, 79, 3))),
        ("!circle(60,80,10)", disc(59, 79, 10)),
        ("-circle(60,80,10)\n-circle(110,60,8)", disc(59, 79, 10) | disc(109, 59, 8)),
        ("circle(60,80,20)\n-circle(65,80,8)", disc(59, 79, 20) & ~disc(64, 79, 8)),
        ("circle(110,60,8)\ncircle(60,80,20)\n!circle(65,80,8)",
         disc(109, 59, 8) | (disc(59, 79, 20) & ~disc(64, 79, 8))),
    ],
)  # fmt: skip
def test_arithmetic_of_ciao(tmp_path, text, expected):
    np.testing.assert_array_equal(masked(tmp_path, f"{text}\n"), expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("circle(60,60,55)\n-circle(65,80,8)\n", "area of analysis"),
        ("circle(60,80,20)\n-circle(110,60,8)\n", "lies in none"),
        # In order: the second circle covers what was cut out of the first.
        ("circle(60,80,20)\n-circle(65,80,8)\ncircle(66,80,15)\n", "differ here"),
    ],
)
def test_what_has_two_meanings_is_refused(tmp_path, text, why):
    with pytest.raises(InputError, match=f"both included and excluded.*{why}"):
        masked(tmp_path, text)


def test_regions_that_are_not_on_the_image(tmp_path):
    found = read(tmp_path, "image\ncircle(31,21,5.5)\ncircle(900,21,5)\nbox(31,-40,5,5,0)\n")
    np.testing.assert_array_equal(found.pixels, disc(30, 20, 5.5))
    assert found.remarks == ["mask: 2 of 3 regions lie outside of the image"]
    wcs = tan_wcs(SHAPE, pixel=2.0)
    for text in (
        "image\ncircle(900,21,5)\n",
        'fk5\ncircle(10,20,3")\n',
        'fk5\ncircle(45.3,-1.7,3")\n',  # behind the image's part of the sky
        "galactic\npolygon(10,20,10.1,20,10.1,20.1)\n",
    ):
        with pytest.raises(InputError, match="all outside"):
            masked(tmp_path, text, wcs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\ncircle(1,2,3)\nbanana(1,2,3)\n", "line 3.*banana"),
        ("image\npoint(3,4)\n", "line 2.*point"),
        ("image\nepanda(1,2,0,90,1,1,5,2,3,1,0)\n", "line 2.*epanda"),
        ("image\ncircle(1,two,3)\n", "line 2.*two"),
        ("image\ncircle(1,2)\n", "line 2.*2 values of circle"),
        ("image\ncircle(10,20,-3)\n", "line 2.*negative"),
        ("image\ncircle(10,20,nan)\n", "line 2.*nan"),
        ("image\ncircle(10,20,1e300)\n", "line 2.*out of range"),
        ("image\nannulus(10,20,8,3)\n", "line 2.*do not grow"),
        ("image\npolygon(10,20,8,3)\n", "line 2.*polygon"),
        ("image\npolygon(10,20,8,3,4)\n", "line 2.*polygon"),
        ("(circle(1,2,3)+circle(4,5,6))*box(1,2,3,4)\n", "line 1"),
        ("circle(1,2,3)/circle(4,5,6)\n", "line 1.*not understood"),
        ("circle(1,2,3)+-circle(4,5,6)\n", "line 1.*operator"),
        ("wcsa\ncircle(1,2,3)\n", "line 1.*wcsa"),
        ("linear;circle(1,2,3)\n", "line 1.*linear"),
        ("hello world\n", "line 1.*hello"),
        ("10 20 -3\n", "radius > 0"),
        ("10 20 3 4\n", "line 1"),
        ("# nothing\n", "at least one region"),
        ("", "at least one region"),
        ('fk5\ncircle(10,20,3")\n', "line 2.*no celestial WCS"),
        ('image\ncircle(10,20,3")\n', "line 2.*no celestial WCS"),
        ("10:00:00\n", "line 1"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        masked(tmp_path, text)


def test_sizes_beside_a_position_on_the_sky_need_a_unit_in_ciao(tmp_path):
    wcs = tan_wcs(SHAPE, pixel=2.0)
    with pytest.raises(InputError, match="without a unit"):
        masked(tmp_path, "circle(15:01:12,1:42:00,5)\n", wcs)
    with pytest.raises(InputError, match="beyond a pole"):
        masked(tmp_path, 'fk5;circle(10,95,5")\n', wcs)
    with pytest.raises(InputError, match="two kinds"):
        masked(tmp_path, 'physical;circle(15:01:12,20,5")\n', wcs)


def test_binary_data_are_refused(tmp_path):
    (tmp_path / "mask.reg").write_bytes(b"\xff\xfe\x00\x80" * 100)
    with pytest.raises(InputError, match="text form"):
        read_mask(tmp_path / "mask.reg", np.ones(SHAPE), None)


def test_the_parser_of_regions_draws_the_same(tmp_path):
    """On square pixels with north up; positions, sizes and angles are drawn."""
    rng = np.random.default_rng(5)
    wcs = tan_wcs(SHAPE, pixel=2.0)
    Y, X = np.indices(SHAPE)
    for frame in ("image", "fk5"):
        for kind in ("circle", "ellipse", "box", "annulus", "polygon"):
            x, y = rng.uniform(40, 110), rng.uniform(40, 80)
            place = wcs.pixel_to_world(x - 1, y - 1).fk5
            centre = f"{x},{y}" if frame == "image" else f"{place.ra.deg},{place.dec.deg}"
            a, b = sorted(rng.uniform(6, 20, 2))
            sizes = [f"{s}" if frame == "image" else f'{2 * s}"' for s in (a, b)]
            turn = rng.uniform(0, 360)
            text = {
                "circle": f"circle({centre},{sizes[0]})",
                "ellipse": f"ellipse({centre},{sizes[0]},{sizes[1]},{turn})",
                "box": f"box({centre},{sizes[0]},{sizes[1]},{turn})",
                "annulus": f"annulus({centre},{sizes[0]},{sizes[1]})",
                "polygon": "polygon("
                + ",".join(
                    f"{px},{py}" if frame == "image" else f"{s.ra.deg},{s.dec.deg}"
                    for px, py in ((x, y), (x + a, y + 3), (x - 4, y + b))
                    for s in [wcs.pixel_to_world(px - 1, py - 1).fk5]
                )
                + ")",
            }[kind]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                (other,) = Regions.parse(f"{frame}\n{text}\n", format="ds9")
            other = other if frame == "image" else other.to_pixel(wcs)
            expected = other.contains(PixCoord(X, Y))
            found = masked(tmp_path, f"{frame}\n{text}\n", wcs)
            assert expected.sum() > 30
            assert (found != expected).sum() <= 0.02 * expected.sum(), (frame, text)


def test_a_region_on_pixels_that_are_not_square(tmp_path):
    """A circle on the sky is an ellipse of pixels; its area there is the circle's."""
    wcs = tan_wcs(SHAPE, pixel=1.0, stretch=2.0)
    place = wcs.pixel_to_world(*PLACE)
    found = masked(tmp_path, f'icrs;circle({place.ra.deg},{place.dec.deg},20.3")\n', wcs)
    Y, X = np.indices(SHAPE)
    away = wcs.pixel_to_world(X, Y).separation(place)
    np.testing.assert_array_equal(found, away < 20.3 * u.arcsec)
    assert found.sum() == pytest.approx(np.pi * 20.3**2 / 2, rel=0.03)


def test_many_regions_on_a_large_image_take_little(tmp_path):
    wcs = tan_wcs((3000, 3000), pixel=0.492)
    rng = np.random.default_rng(2)
    places = wcs.pixel_to_world(*rng.uniform(-500, 3500, (2, 300)))
    lines = [f'circle({p.ra.deg:.7f},{p.dec.deg:.7f},3")' for p in places]
    found = read(tmp_path, "icrs\n" + "\n".join(lines), wcs, shape=(3000, 3000))
    inside = int(found.remarks[0].split()[1])
    assert found.pixels.sum() == pytest.approx((300 - inside) * np.pi * (3 / 0.492) ** 2, rel=0.05)


def test_the_xmm_source_list_lies_on_its_sources(shared_data):
    counts = fits.getdata(shared_data / "xmm/P0098010101M2U009IMAGE_3000.FTZ").astype(float)
    mask = read_mask(shared_data / "xmm/M2ptsrc.txt", counts, None).pixels
    assert 26 < mask.sum() / 80 < 40  # 26 circles of radius 2.5 to 9.7
    exposure = fits.getdata(shared_data / "xmm/P0098010101M2U009EXPMAP3000.FTZ")
    inside = counts[mask & (exposure > 0)].mean()
    # The same circles, moved by 20 pixels, hold the background only.
    shifted = np.roll(mask, (20, -20), (0, 1)) & ~mask & (exposure > 0)
    assert inside > 1.8 * np.median([counts[shifted].mean()])


def test_the_cases_in_text(shared_data):
    cases = shared_data.parent / "cases" / "cavities"
    Y, X = np.indices((256, 256))
    base = open_image(cases / "base.fits.gz")
    found = read_mask(cases / "ciao_plus.reg", base.data, base.wcs, base.header).pixels
    two = ((X - 59) ** 2 + (Y - 199) ** 2 < 100) | ((X - 159) ** 2 + (Y - 59) ** 2 < 64)
    np.testing.assert_array_equal(found, two)
    image = open_image(cases / "physical_P.fits.gz")
    found = read_mask(cases / "physical_P.reg", image.data, image.wcs, image.header).pixels
    np.testing.assert_array_equal(found, (X - 59) ** 2 + (Y - 199) ** 2 < 100)
    assert found.sum() == 305
