"""Tables and figures of docs/performance.md from build/benchmarks/: `python -m benchmarks.report`.

Text between `<!-- begin:NAME -->` and `<!-- end:NAME -->` is generated; the rest of the document is left alone.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks import growth, peers, pictures, results
from moe_replication.errors import BadInput
from moe_replication.files import write_text

ROOT = Path(__file__).parents[1]
DOCUMENT, IMAGES = ROOT / "docs/performance.md", ROOT / "docs/images"
# Units from the largest down; a time is told in the first that it fills.
TIME_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument("--images", type=Path, default=IMAGES)
    options = parser.parse_args()
    saved = results.load()
    text = options.document.read_text(encoding="utf-8")
    write_text(options.document, fill(text, {name: section(name, found) for name, found in saved.items()}))
    for name, draw in (("layer", pictures.draw_layer), ("growth", pictures.draw_growth)):
        if name in saved:
            pictures.write(draw, saved[name]["rows"], f"performance-{name}", results.FOLDER, options.images)
    print(f"{options.document}: {', '.join(saved) or 'nothing measured yet'}")


def fill(text: str, sections: dict[str, str]) -> str:
    """`text` with new content between the markers of each section; BadInput names one without markers."""
    for name, content in sections.items():
        begin, end = f"<!-- begin:{name} -->", f"<!-- end:{name} -->"
        if not re.search(f"{begin}.*?{end}", text, re.DOTALL):
            raise BadInput(f"no {begin} ... {end} in the document; add both lines where {name} belongs")
        text = re.sub(f"{begin}.*?{end}", lambda _, new=f"{begin}\n{content}\n{end}": new, text, flags=re.DOTALL)
    return text


def section(name: str, saved: dict) -> str:
    """Machine, table and what was left out, of one suite."""
    rows = saved["rows"]
    tables = {"layer": layer_table, "growth": growth_table}
    parts = [machine_line(saved), tables.get(name, plain_table)(rows), left_out(rows)]
    return "\n\n".join(part for part in parts if part)


def machine_line(saved: dict) -> str:
    """Where and when, and the peaks that shares refer to."""
    machine = saved["machine"]
    words = [f"{machine['processor']} ({', '.join(machine['instructions']) or 'no vector extension known'})"]
    words += [machine["gpu"]] if machine["gpu"] else []
    words += [f"{machine['cores']} cores", f"torch {machine['torch']}", f"Python {machine['python']}"]
    words += [f"load average {machine['load_average']:.1f} at the end", saved["date"]]
    peaks = {row["dtype"]: row["peak"] for row in saved["rows"] if "peak" in row and "dtype" in row}
    words += [f"peak in {dtype} {peak / 1e9:.3g} GFLOP/s" for dtype, peak in peaks.items()]
    return f"Measured on {', '.join(words)}."


def layer_table(rows: list[dict]) -> str:
    """A line a case: ours, and everything else as a multiple of our time."""
    timed = [row for row in rows if "seconds" in row]
    others = [name for name in dict.fromkeys(row["candidate"] for row in timed) if name != peers.OURS]
    head = ["Case", "GFLOP", "Ours", "Of peak", "Ahead of the target's peers", *others]
    lines = []
    for case in dict.fromkeys(row["case"] for row in timed):
        by_name = {row["candidate"]: row for row in timed if row["case"] == case}
        ours = by_name.get(peers.OURS, {})
        lines.append(
            [
                case,
                f"{next(iter(by_name.values()))['flops'] / 1e9:.3g}",
                shown_time(ours.get("seconds")),
                shown_share(ours.get("peak_share")),
                f"{ours['ratio']:.2f} x {ours['against']}" if "ratio" in ours else "",
                *(_multiple(by_name.get(name)) for name in others),
            ]
        )
    return markdown(head, lines)


def growth_table(rows: list[dict]) -> str:
    """A line a sweep: sizes, times, memory, and the exponents fitted to them."""
    head = ["Grows", "In", "Sizes", "Time of a pass", "Exponent", "By arithmetic", "Peak memory", "Exponent"]
    lines = []
    for name, sweep in growth.SWEEPS.items():
        here = [row for row in rows if row.get("sweep") == name]
        if not here:
            continue
        known = [row for row in here if row["bytes"]]
        lines.append(
            [
                sweep.title,
                sweep.what,
                f"{here[0]['size']:,} to {here[-1]['size']:,}",
                f"{shown_time(here[0]['seconds'])} to {shown_time(here[-1]['seconds'])}",
                f"{growth.exponent(here, 'seconds'):.2f}",
                sweep.expected,
                f"{known[0]['bytes'] / 2**20:.0f} to {known[-1]['bytes'] / 2**20:.0f} MiB" if known else "not known",
                f"{growth.exponent(known, 'bytes'):.2f}" if len(known) > 1 else "",
            ]
        )
    return markdown(head, lines)


def plain_table(rows: list[dict]) -> str:
    """A line a row, with the columns that any row fills."""
    columns = {
        "Case": lambda row: row["case"],
        "Candidate": lambda row: row["candidate"],
        "Time": lambda row: shown_time(row["seconds"]),
        "Fastest to slowest": lambda row: f"{shown_time(row['low'])} to {shown_time(row['high'])}",
        "Rounds": lambda row: str(row["rounds"]),
        "Of peak": lambda row: shown_share(row.get("peak_share")),
        "Ratio": lambda row: f"{row['ratio']:.2f} x {row.get('against', '')}" if row.get("ratio") else "",
        "Deviation": lambda row: f"{row['error']:.1g}" if row.get("error") is not None else "",
    }
    timed = [row for row in rows if "seconds" in row]
    cells = {head: [show(row) for row in timed] for head, show in columns.items()}
    used = {head: column for head, column in cells.items() if any(column)}
    return markdown(list(used), [list(line) for line in zip(*used.values(), strict=True)])


def left_out(rows: list[dict]) -> str:
    """What was not timed, and why, a line a candidate or group of cases."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if "left_out" in row:
            lines.setdefault((row["candidate"], row["left_out"]), []).append(row["case"])
    shown = []
    for (candidate, reason), cases in lines.items():
        words = [*([candidate] if candidate != "all" else []), *(["; ".join(cases)] if cases != ["all"] else [])]
        shown.append(f"- {' at '.join(words)}: {reason}")
    return "Left out:\n\n" + "\n".join(shown) if shown else ""


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def shown_time(seconds: float | None) -> str:
    """Three digits in the unit that fits; nothing for None."""
    if seconds is None:
        return ""
    unit, size = next((u for u in TIME_UNITS if seconds >= u[1]), TIME_UNITS[-1])
    return f"{float(f'{seconds / size:.3g}'):g} {unit}"


def shown_share(share: float | None) -> str:
    """Whole per cent; nothing for None."""
    return "" if share is None else f"{share:.0%}"


def _multiple(row: dict | None) -> str:
    return "" if row is None or "ratio" not in row else f"{1 / row['ratio']:.2f}"


if __name__ == "__main__":
    main()
