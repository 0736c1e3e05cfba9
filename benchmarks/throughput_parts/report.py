"""The numbers as one JSON document, as a table, and as a section of RESULTS.md."""

import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from throughput_parts.messages import RIVALS, Contender
from throughput_parts.rounds import Bench, Side, Sides, differences
from throughput_parts.workloads import WORKLOADS, Workload
from transmeta.core.codec import Json
from transmeta.workspace import code_version

BEGIN: Final = "<!-- throughput: begin, written by benchmarks/throughput.py -->"
END: Final = "<!-- throughput: end -->"
SHORT: Final = {Contender.OURS: "ours", Contender.PLAIN: "plain", Contender.TUNED: "tuned"}
Row = dict[str, Json]


def row_of(workload: Workload, sides: Sides, *, bench: Bench) -> Row:
    """Returns what is reported of one workload; rates are trials per second of wall time, warm, medians over rounds."""
    trials = bench.scale.trials(workload)
    rates = {contender: trials / side.seconds_for(trials) for contender, side in sides.items()}
    ours = rates[Contender.OURS]
    ratios = {contender: ours / rates[contender] for contender in RIVALS}
    found = [each for contender in RIVALS for each in differences(sides[Contender.OURS], sides[contender])]
    bars = workload.bars
    run_by_rivals = {c: sum(len(run.reply.ended_s) for run in sides[c].runs) for c in RIVALS}
    best = {c: [run.reply.best for run in side.runs if run.reply.best is not None] for c, side in sides.items()}
    return {
        **{f"{contender.value}_per_s": _round(rate) for contender, rate in rates.items()},
        "vs_plain": _round(ratios[Contender.PLAIN]),
        "vs_tuned": _round(ratios[Contender.TUNED]),
        "score_difference_max": max((each.score for each in found), default=None),
        "test_score_difference_max": max((each.test_score for each in found), default=None),
        "loss_difference_max": max((each.loss for each in found), default=None),
        "compared": len(found),
        "scaled": any(len(run.reply.ended_s) < trials for c in RIVALS for run in sides[c].runs),
        "trials": trials,
        "rival_trials": {SHORT[c]: count for c, count in run_by_rivals.items()},
        "rounds": {SHORT[c]: len(side.runs) for c, side in sides.items()},
        "warm": {SHORT[c]: _warm(side, trials) for c, side in sides.items()},
        "cold": {SHORT[c]: _cold(side, trials) for c, side in sides.items()},
        "best_score": {SHORT[c]: round(statistics.median(scores), 4) for c, scores in best.items() if scores},
        "failures": {
            SHORT[c]: sorted({f for run in side.runs for f in run.reply.failures}) for c, side in sides.items()
        },
        "bars": {"vs_plain": bars.plain, "vs_tuned": bars.tuned, "vs_tuned_stretch": bars.stretch},
        "reached": {
            "vs_plain": None if bars.plain is None else ratios[Contender.PLAIN] >= bars.plain,
            "vs_tuned": None if bars.tuned is None else ratios[Contender.TUNED] >= bars.tuned,
        },
        "batch_size": workload.batch,
        "note": workload.note,
        "ours_by": sides[Contender.OURS].note,
    }


def machine() -> dict[str, Json]:
    """Returns what the numbers were measured on."""
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 0,
        "torch": torch.__version__,
        "ray": importlib.metadata.version("ray"),
        "python": platform.python_version(),
        "commit": code_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def table(rows: Mapping[str, Row], *, missing: Mapping[str, str]) -> str:
    """Returns the rows as a Markdown table, and a line for each workload that could not be run."""
    lines = [
        "| workload | trials | ours /s | plain /s | tuned /s | × plain | bar | × tuned | bar | max Δscore | max Δloss "
        "| CPU s ours / plain / tuned | cold s ours / plain / tuned |",
        "| --- " * 13 + "|",
    ]
    for name, row in rows.items():
        bars = WORKLOADS[name].bars
        cpu = " / ".join(short(_part(row, "warm", side, "cpu_s")) for side in SHORT.values())
        cold = " / ".join(short(_part(row, "cold", side, "wall_s")) for side in SHORT.values())
        cells = [
            name, str(row["trials"]), *(short(row[f"{c.value}_per_s"]) for c in Contender),
            short(row["vs_plain"]), _mark(row, "vs_plain", bars.plain),
            short(row["vs_tuned"]), _mark(row, "vs_tuned", bars.tuned),
            short(row["score_difference_max"]), short(row["loss_difference_max"]), cpu, cold,
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{name}: not run; {reason}" for name, reason in missing.items()]
    return "\n".join(lines)


def write_section(path: Path, text: str) -> None:
    """Puts `text` in place of the marked section of a Markdown file, or at its end."""
    old = path.read_text()
    section = f"{BEGIN}\n{text}\n{END}"
    if BEGIN in old:
        new = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: section, old, flags=re.DOTALL)
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    path.write_text(new)


def _warm(side: Side, trials: int) -> Row:
    return {"wall_s": _round(side.seconds_for(trials)), "cpu_s": _round(side.cpu_s_for(trials))}


def _cold(side: Side, trials: int) -> Row:
    """With the start of the process, the Ray session and the pool, and nothing cached."""
    first = Side(runs=(side.cold,), cold=side.cold, start_s=0.0, start_cpu_s=0.0, note="")
    return {
        "wall_s": _round(side.start_s + first.seconds_for(trials)),
        "cpu_s": _round(side.start_cpu_s + first.cpu_s_for(trials)),
        "start_s": _round(side.start_s),
    }


def _part(row: Row, block: str, side: str, key: str) -> Json:
    part = row[block]
    assert isinstance(part, dict)
    inner = part[side]
    assert isinstance(inner, dict)
    return inner[key]


def _mark(row: Row, key: str, bar: float | None) -> str:
    reached = row["reached"]
    assert isinstance(reached, dict)
    return "–" if bar is None else f"{bar:g} {'reached' if reached[key] else 'missed'}"


def short(value: Json) -> str:
    if not isinstance(value, float | int):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
