"""Blocks of Markdown from the numbers of the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.tables import interval as show
from common.tables import table

from physml.cavities.evaluation import sets

from .predictions import ALL
from .rows import MAIN, METHODS, RIVALS, SEALED_ROWS, Row, rows_of

Numbers = Mapping[str, Any]

#: Rows of the short table, by the first words of their labels.
SHORT = (
    "completeness, all counts",
    "completeness at 5-20k",
    "cavity F1",
    "cavity-less images",
    "radius scatter",
)
#: Sets without cavities.
EMPTY = (*sets.EMPTY, "sealed_none")
#: Times by their names in the numbers.
TIMES: Mapping[str, tuple[str, str]] = {
    "loaded": (
        "CPU time, one image a call, CADET's model loaded before (float32, physml {precision}, "
        "sizes by the networks)",
        "<= 0.5 s, ratio >= 10",
    ),
    "refined": ("the same, physml with its likelihood: all steps", "<= 0.6 s"),
    "same_precision": ("CPU time, one image a call, float32 both", ""),
    "fastest": (
        "CPU time, each at its fastest (CADET rewritten, physml {precision} in batches)",
        "",
    ),
}


def dig(tree: Any, *keys: Any) -> Any:
    """Entry of nested dictionaries and lists, or None."""
    for key in keys:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def bias(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Ratio minus one."""
    return {k: None if v is None else v - 1 for k, v in summary.items()}


def number(numbers: Numbers, method: str, row: Row) -> Any:
    """Value and interval of a row, or None."""
    found = dig(numbers, "sets", method, row.set, *row.path)
    return bias(found) if found is not None and row.is_bias else found


def cells(numbers: Numbers, row: Row) -> list[str]:
    """Three methods, and our difference to the rivals, in their order."""
    values = [show(number(numbers, method, row), row.style) for method in METHODS]
    signed = row.style if row.is_bias else f"+{row.style}"
    gaps = [show(dig(numbers, "differences", rival, row.key), signed, " to ") for rival in RIVALS]
    return [*values, *gaps]


HEADS = [*METHODS.values(), *(f"physml - {title}" for title in RIVALS.values())]


def ideals(numbers: Numbers, row: Row) -> str:
    """Completeness of the ideal observers, place known and searching."""
    if row.path[:2] != ("strict", "at_alarm"):
        return ""
    found = (dig(numbers, "ideal", row.set, v, *row.path[2:]) for v in ("known", "search"))
    return " / ".join(show(one).split(" ")[0] for one in found)


def main_rows(numbers: Numbers) -> list[list[str]]:
    """Rows of the main table: metric, methods, differences, ideal, goal."""
    rows = [
        [row.label, *cells(numbers, row), ideals(numbers, row), row.goal.text if row.goal else ""]
        for row in rows_of("clean", "nuisance")
    ]
    for key, (label, goal) in TIMES.items():
        if (t := numbers["timing"].get(key)) is None:
            continue  # a record from before the likelihood
        label = label.format(precision=numbers["precision"])
        label = f"{label}: ratio {show(t['ratio'], '.3g')}"
        rows.append([label, f"{t['cadet']:.2f} s", "", f"{t['physml']:.3f} s", "", "", "", goal])
    return rows


def caption(numbers: Numbers, names: Iterable[str]) -> str:
    """Sentences on sets, numbers of images, intervals and methods."""
    sizes = {numbers["sets"]["physml"][name]["images"] for name in names}
    n = " or ".join(map(str, sorted(sizes)))
    return (
        f"{n} images a set; {numbers['confidence']:.0%} intervals from {numbers['replicas']:,} "
        "resamples of whole images in brackets; differences on the same resamples of the same "
        "images (of biases, of their sizes). *CADET, fitted*: its thresholds and probabilities "
        "fitted on our validation images, for the same alarm level as ours."
    )


def set_rows(numbers: Numbers, rule: str, names: Sequence[str]) -> Iterator[list[Any]]:
    """One row for each set and method: detection at the shipped thresholds."""
    columns = ("completeness", "purity", "f1", "false_per_image", "alarmed")
    for name in names:
        for method, title in METHODS.items():
            part = dig(numbers, "sets", method, name)
            if part is None:
                continue
            useless = ("completeness", "purity", "f1") if name in EMPTY else ("alarmed",)
            shown = [
                "-"
                if column in useless
                else show(part[rule][column], ".1%" if column == "alarmed" else ".3f")
                for column in columns
            ]
            at_alarm = show(dig(part, rule, "at_alarm", "binned"))
            yield [name, title, part["images"], *shown, at_alarm]


def set_table(numbers: Numbers, rule: str, names: Sequence[str]) -> str:
    """Table of detection in all sets."""
    heads = ["set", "method", "images", "completeness", "purity", "F1"]
    heads += ["false cavities an image", "images alarmed", "completeness at 5 % alarmed"]
    return table(heads, set_rows(numbers, rule, names))


def ideal_rows(numbers: Numbers, name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Bins of a set: property, our numbers and the row's cells."""
    for quantity in ("counts", "radius", "snr"):
        for k, one in enumerate(dig(numbers, "sets", "physml", name, "curves", quantity) or ()):
            limit = {
                v: dig(numbers, "ideal", name, v, "curves", quantity, k, "completeness", "value")
                for v in ("known", "search")
            }
            if one["cavities"] < 5 or None in limit.values():
                continue
            others = [
                dig(numbers, "sets", m, name, "curves", quantity, k, "completeness") for m in RIVALS
            ]
            gap = 100 * (limit["search"] - one["completeness"]["value"])
            shown = [quantity, f"{one['low']:g}-{one['high']:g}", str(one["cavities"])]
            shown += [show(other, ".2f") for other in others]
            shown += [show(one["completeness"], ".2f")]
            shown += [f"{limit['known']:.2f}", f"{limit['search']:.2f}", f"{gap:+.0f}"]
            yield quantity, {**one, "gap": gap}, shown


def ideal_table(numbers: Numbers, name: str) -> str:
    """Completeness in bins beside the ideal observer's."""
    heads = ["property", "bin", "cavities", *METHODS.values(), "ideal, place known"]
    heads += ["ideal, searching", "physml below searching [points]"]
    return table(heads, [shown for _, _, shown in ideal_rows(numbers, name)])


def largest_gap(numbers: Numbers, name: str) -> str:
    """Sentence on where we are furthest from the searching ideal observer."""
    bins = [one for quantity, one, _ in ideal_rows(numbers, name) if quantity == "snr"]
    if not bins:
        return "No bin holds enough cavities."
    worst = max(bins, key=lambda one: one["gap"])
    sure = [one["gap"] for one in bins if one["low"] >= 12]
    text = (
        f"The gap to the searching ideal observer is largest at S/N {worst['low']:g} to "
        f"{worst['high']:g} ({worst['gap']:.0f} points)"
    )
    return f"{text}; above S/N 12 it is at most {max(sure):.0f}." if sure else f"{text}."


def verdicts(numbers: Numbers) -> tuple[list[tuple[Row, Any]], int]:
    """Rows that miss their goal with their numbers, and how many rows have one."""
    missed, goals = [], 0
    for row in rows_of("clean", "nuisance"):
        found = number(numbers, "physml", row)
        if row.goal is None or found is None:
            continue
        goals += 1
        value = abs(found["value"]) if row.is_bias else found["value"]
        if not row.goal.met(value):
            missed.append((row, found))
    return missed, goals


def missed_sentence(numbers: Numbers) -> str:
    """Sentence on the goals that are missed."""
    missed, goals = verdicts(numbers)
    if not missed:
        return f"All {goals} goals for accuracy are met."
    named = [
        f"{row.label} ({format(found['value'], row.style)} for {row.goal.text})"
        for row, found in missed
        if row.goal
    ]
    return (
        f"{goals - len(missed)} of {goals} goals for accuracy are met; missed: {'; '.join(named)}."
    )


def sealed_sentence(numbers: Numbers) -> str:
    """Sentence on the sealed set beside the frozen one with nuisances."""
    rows = {row.label: row for row in SEALED_ROWS}

    def both(label: str) -> str:
        row = rows[label]
        theirs, fitted, ours = (
            show(number(numbers, m, row), row.style).split(" ")[0] for m in METHODS
        )
        return f"{ours} (CADET {theirs}, fitted {fitted})"

    found = both("completeness, all counts, 5 % alarmed, one threshold")
    frozen = dig(numbers, "sets", "physml", "nuisance", "strict", "f1")
    return (
        f"On the sealed set physml finds {found} of the cavities where 5 % alarm; F1 is "
        f"{both('cavity F1')}, in the frozen set with nuisances {show(frozen).split(' ')[0]}; "
        f"{both('cavity-less images with a false cavity')} of the cavity-less images alarm; radius "
        f"scatter is {both('radius scatter')}, radius bias {both('radius bias')}; per-cavity "
        f"calibration error {both('per-cavity calibration error')}."
    )


def fitted_sentence(numbers: Numbers) -> str:
    """Sentence on the fit of CADET's thresholds."""
    f = numbers["fitted"]
    peaks = ", ".join(
        f"{peak:.2f} at {10**x:,.0f} counts"
        for x, peak in zip(f["log10_counts"], f["peak"], strict=True)
    )
    return (
        f"Fitted on {f['images']['cavities']} validation images with cavities and "
        f"{f['images']['empty']} without: {f['pixel']:g} for the pixels, more than "
        f"{f['area']:g} in summed probability, {peaks} for the peak; F1 {f['f1']:.3f} there, "
        f"{f['shipped_f1']:.3f} with CADET's own first two values (0.4 and 12) and a fitted peak."
    )


def verified_sentence(numbers: Numbers) -> str:
    """Sentence on CADET's network and the times."""
    v, t = numbers["verification"], numbers["timing"]
    return (
        f"CADET ran as pycadet {numbers['rival']}: its network by a faster path, compared with "
        f"pycadet's own on {v['images']} images (largest difference of a probability "
        f"{v['max_probability_difference']:.1e}, detections identical in "
        f"{v['images_with_the_same_detections']} of {v['images']}). Times are CPU seconds of one "
        "thread for these images, all averaging included. A call of pycadet as it is takes "
        f"{t['native']['cadet']:.2f} s, since it reads its model each time."
    )


def ledger_table(numbers: Numbers) -> str:
    """What each set can still prove."""
    return table(["set", "state"], [[f"`{k}`", v] for k, v in numbers["ledger"].items()])


def tables(numbers: Numbers) -> dict[str, str]:
    """All blocks by name."""
    rows = main_rows(numbers)
    heads = ["metric, same images", *HEADS, "ideal known / search", "goal"]
    few = [row for row in rows if row[0].startswith(SHORT) or row[0].startswith("CPU time")]
    frozen = [name for name in ALL if name in numbers["sets"]["physml"] and "sealed" not in name]
    about = caption(numbers, frozen)
    first = caption(numbers, [name for name in MAIN if name in frozen])
    blocks = {
        "main": f"{first}\n\n{table(heads, rows)}",
        "short": f"{first}\n\n{table(heads, few)}",
        "missed": missed_sentence(numbers),
        "sets": f"{about}\n\n{set_table(numbers, 'strict', frozen)}",
        "lenient": f"{first}\n\n{set_table(numbers, 'lenient', MAIN)}",
        "fitted": fitted_sentence(numbers),
        "verified": verified_sentence(numbers),
        "ledger": ledger_table(numbers),
    }
    for name in numbers["ideal"]:
        text = f"Set `{name}`. {caption(numbers, [name])}"
        blocks[f"ideal-{name}"] = f"{text}\n\n{ideal_table(numbers, name)}"
        blocks[f"gap-{name}"] = largest_gap(numbers, name)
    if dig(numbers, "sets", "physml", "sealed"):
        names = ("sealed", "sealed_none")
        state = "; ".join(f"`{k}`: {v}" for k, v in numbers["ledger"].items() if k in names)
        text = f"{state}. {caption(numbers, names)}"
        made = table(["metric", *HEADS], [[row.label, *cells(numbers, row)] for row in SEALED_ROWS])
        blocks["sealed"] = f"{text}\n\n{made}"
        blocks["sealed-sentence"] = sealed_sentence(numbers)
    for key in {"native", *TIMES} & set(numbers["timing"]):
        name = key.replace("_", "-")
        blocks[f"ratio-{name}"] = f"{numbers['timing'][key]['ratio']['value']:.0f}"
        blocks[f"seconds-{name}"] = f"{numbers['timing'][key]['physml']:.2g}"
        blocks[f"cadet-seconds-{name}"] = f"{numbers['timing'][key]['cadet']:.2g}"
    return blocks
