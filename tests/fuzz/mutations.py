"""How a good file becomes a hostile one: strategies that change bytes, text, trees and cards."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

#: Numbers at which sizes, signs and types turn over.
EDGES = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
EDGES += (2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = tuple(str(n).encode() for n in (*EDGES, -1, -(2**31), -(2**63), 10**400))
NUMBERS += (b"1e308", b"-1e308", b"1e400", b"1e-400", b"nan", b"inf", b"-inf", b"NaN", b"Infinity")
NUMBERS += (b"0x10", b"1_000", b"1e", b"--1", b"+-1", b".", b"1:2:3", b"\xef\xbc\x91")
WORDS = (b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"../../etc/passwd", b"/dev/zero", b"\x1b[2J")
WORDS += (b"'", b'"', b"\\", b"\n", b"\r\n", b"\r", b"{", b"}", b"[", b"]", b",", b";", b":", b"#")
WORDS += (b"null", b"true", b"__class__", b"!!python/object/apply:os.getcwd []", b"&a [*a, *a]")
WORDS += (b"[" * 3000, b"{" * 3000, b"9" * 5000, b"\xf0\x9f\x92\xa9", b"\xe2\x80\xae", b"%s%n")

_number = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Most of what can go wrong is in the first kilobytes: places crowd there.
_place = st.floats(0, 1, exclude_max=True).map(lambda x: x**3) | st.floats(0, 1, exclude_max=True)


@st.composite
def damaged(draw: st.DrawFn, raw: bytes, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Bytes changed in up to five places, and perhaps cut short."""
    content = bytearray(raw)
    words = st.sampled_from(WORDS + tokens)
    for _ in range(draw(st.integers(1, 5))):
        at = int(draw(_place) * max(1, len(content)))
        kind = draw(st.integers(0, 8))
        if kind == 0 and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1 and content:
            content[at] = draw(st.integers(0, 255))
        elif kind == 2:
            size = draw(st.sampled_from([1, 2, 4, 8]))
            number, order = draw(st.sampled_from(EDGES)), draw(st.sampled_from(["little", "big"]))
            content[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, order)
        elif kind == 3:
            content[at:at] = draw(words)
        elif kind == 4:
            word = draw(words)
            content[at : at + len(word)] = word
        elif kind == 5:
            del content[at : at + draw(st.integers(1, 300))]
        elif kind == 6:
            run = content[at : at + draw(st.integers(1, 300))]
            to = int(draw(_place) * max(1, len(content)))
            content[to:to] = run
        else:
            places = list(_number.finditer(bytes(content)))
            if places:
                place = places[int(draw(_place) * len(places))]
                content[place.start() : place.end()] = draw(st.sampled_from(NUMBERS))
    kept = draw(st.just(1.0) | st.floats(0, 1))
    return bytes(content[: int(kept * len(content))])


@st.composite
def lines_changed(draw: st.DrawFn, raw: bytes, tokens: tuple[bytes, ...] = ()) -> bytes:
    """Lines dropped, doubled, swapped, or replaced by others."""
    lines = raw.split(b"\n")
    for _ in range(draw(st.integers(1, 5))):
        at = int(draw(_place) * len(lines)) if lines else 0
        kind = draw(st.integers(0, 3))
        if kind == 0 and lines:
            del lines[at]
        elif kind == 1 and lines:
            lines[at:at] = [lines[at]] * draw(st.sampled_from([1, 2, 300]))
        elif kind == 2 and lines:
            to = int(draw(_place) * len(lines))
            lines[at], lines[to] = lines[to], lines[at]
        else:
            lines.insert(at, draw(st.sampled_from(WORDS + tokens + NUMBERS)))
    return b"\n".join(lines)


_leaves = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -1, 1, 2**53, 2**63, -(2**63), 10**400, 1e308, -0.0, 5e-324])
    | st.sampled_from([float("nan"), float("inf")])
    | st.floats()
    | st.integers()
    | st.sampled_from([w.decode("utf-8", "replace") for w in WORDS])
    | st.text(max_size=8)
)
junk = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def _places(tree: Any, limit: int = 2000) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting and len(found) < limit:
        node = waiting.pop(0)
        keys = (
            range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
        )
        for key in list(keys):
            found.append((node, key))
            waiting.append(node[key])
    return found


@st.composite
def trees_changed(draw: st.DrawFn, tree: Any) -> Any:
    """A JSON value with some of its parts replaced, dropped, renamed, doubled or wrapped."""
    tree = {"root": json.loads(json.dumps(tree))}
    for _ in range(draw(st.integers(1, 4))):
        places = _places(tree)
        node, key = places[int(draw(st.floats(0, 1, exclude_max=True)) * len(places))]
        kind = draw(st.integers(0, 5))
        if kind <= 1:
            node[key] = draw(junk)
        elif kind == 2 and node is not tree:
            del node[key]
        elif kind == 3:
            times = draw(st.sampled_from([1, 2, 100]))
            # A hundred of a hundred of a hundred would be the fuzzer's own trouble, not a reader's.
            node[key] = [node[key]] * (times if len(json.dumps(node[key])) < 100_000 else 1)
        elif kind == 4 and isinstance(node, dict) and node is not tree:
            node[draw(st.text(max_size=5))] = node.pop(key)
        elif kind == 5:
            donor, part = places[int(draw(st.floats(0, 1, exclude_max=True)) * len(places))]
            # A copy: a tree that holds itself is no JSON.
            node[key] = json.loads(json.dumps(donor[part]))
    return tree["root"]


CARDS = tuple(
    card.encode().ljust(80)
    for card in (
        "ZIMAGE  =                    T", "ZCMPTYPE= 'RICE_1  '", "ZCMPTYPE= 'HCOMPRESS_1'",
        "ZNAXIS  =                    2", "ZNAXIS1 =           4294967296", "ZTILE1  = 0",
        "ZBITPIX =                  -32", "ZQUANTIZ= 'SUBTRACTIVE_DITHER_1'", "ZBLANK  = 1",
        "PCOUNT  =           2147483647", "GCOUNT  =                    0", "THEAP   = 99999999",
        "TFIELDS =                  999", "TFIELDS = -1", "TFORM1  = '1PE(99999999)'",
        "TFORM1  = '0A      '", "TFORM1  = '99999999999D'", "TFORM1  = 'Q'", "TTYPE1  = ''",
        "TDIM1   = '(0,0)   '", "TDIM1   = '(-1,5)'", "TSCAL1  = 1E308", "TNULL1  = 'x'",
        "TUNIT1  = 'erg / / s'", "TDISP1  = 'A1000000000'", "TUNIT1  = 'm^999999'",
        "BSCALE  = 1E400", "BZERO   = NAN", "BSCALE  = 'one'", "BLANK   = 0", "BLANK   = 1.5",
        "BITPIX  =                    7", "NAXIS   =                  999", "NAXIS   = -1",
        "NAXIS1  =                    0", "NAXIS1  = -5", "NAXIS   = 'two'", "GROUPS  = T",
        "CTYPE1  = 'RA---SIP'", "A_ORDER = 9999", "A_ORDER = 3", "CTYPE1  = 'RA---ZPN'",
        "CTYPE1  = 'RA---TAB'", "PS1_0   = 'PROVENANCE'", "PV2_1   = 1E300", "PV1_99  = 1.0",
        "CD1_1   = 0.0", "CD1_1   = NAN", "CRVAL1  = 1E400", "CUNIT1  = 'furlong'", "WCSAXES = 99",
        "WCSAXES = 0", "CPDIS1  = 'LOOKUP'", "D2IMDIS1= 'x'", "CTYPE3  = 'FREQ'", "CDELT1  = 0",
        "EXTNAME = 'PROVENANCE'", "EXTNAME = 'EVENTS  '", "EXTNAME = 1", "EXTVER  = 'x'",
        "XTENSION= 'BINTABLE'", "XTENSION= 'TABLE   '", "XTENSION= 'IMAGE   '", "SIMPLE  = F",
        "CONTINUE  'x&'", "HIERARCH a b = 1", "COMMENT \x1b[2J", "LONGSTRN= 'OGIP 1.0'", "END",
        "TIMEDEL = 1E-300", "TSTART  = NAN", "TELESCOP= 1", "TELESCOP= 'CHANDRA'", "MJDREF  = 'x'",
        "LTM1_1  = 0", "RADESYS = 'x'", "EQUINOX = NAN", "DATE-OBS= 'x'", "BUNIT   = 'keV'",
    )
)  # fmt: skip


@st.composite
def cards_changed(draw: st.DrawFn, raw: bytes) -> bytes:
    """FITS with cards replaced, added, doubled, dropped or given another value.

    The number of blocks stays, so that what follows is still read.
    """
    content = bytearray(raw)
    headers = [0, *(m.start() for m in re.finditer(rb"XTENSION", raw) if m.start() % 2880 == 0)]
    start = draw(st.sampled_from(headers))
    end = raw.find(b"END" + b" " * 77, start)
    while end >= 0 and (end - start) % 80:
        end = raw.find(b"END" + b" " * 77, end + 1)
    if end < 0:
        return raw
    stop = start + -(-(end + 80 - start) // 2880) * 2880
    cards = [bytes(content[i : i + 80]) for i in range(start, end, 80)]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(cards) - 1)) if cards else 0
        kind = draw(st.integers(0, 4))
        if kind == 0 and cards:
            cards[at] = draw(st.sampled_from(CARDS))
        elif kind == 1:
            # In the place of a card of the same name, as a forger would.
            card = draw(st.sampled_from(CARDS))
            same = [i for i, old in enumerate(cards) if old[:8] == card[:8]]
            if same:
                cards[same[0]] = card
            else:
                cards.append(card)
        elif kind == 2 and cards:
            value = draw(st.sampled_from(NUMBERS))[:60]
            cards[at] = cards[at][:10] + value.rjust(20)[:70].ljust(70)
        elif kind == 3 and cards:
            del cards[at]
        elif cards:
            cards.insert(at, cards[at])
    header = b"".join([*cards, b"END".ljust(80)])
    room = max(stop - start, -(-len(header) // 2880) * 2880)
    content[start:stop] = header.ljust(room)
    return bytes(content)
