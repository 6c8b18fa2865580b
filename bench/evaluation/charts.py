# SPDX-License-Identifier: Apache-2.0
"""What is shown of the results: a table in Markdown, and plots of throughput and the host's CPU over the number of guests."""
import os
import shutil
import subprocess

from harness.report import quoted

from evaluation.matrix import DIRECTIONS, OFFLOAD, ONLOAD, PATHS, PLAIN

NAMES = {ONLOAD: "onload", OFFLOAD: "offload", PLAIN: "plain Open vSwitch"}
COLOURS = {ONLOAD: "#b5651d", OFFLOAD: "#2a9d3a", PLAIN: "#555555"}
KIND_NAMES = {"vm": "virtual machines", "loadgen": "load generator's guests"}
FIGURES = (("gbps", "Gbit/s"), ("host_cpu_percent", "host CPU, %"))


def _select(rows, **wanted):
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _values(rows, key):
    return list(dict.fromkeys(row[key] for row in rows))


def _number(value):
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else f"{value}"


def markdown(rows):
    """A table for each kind of guests: a line for each load, in its columns the paths."""
    return "\n".join(_table(kind, _select(rows, guest_kind=kind)) for kind in _values(rows, "guest_kind"))


def _table(kind, rows):
    paths = [path for path in PATHS if _select(rows, path=path)]
    retransmits = any(row["retransmits"] is not None for row in rows)
    figures = [*FIGURES, ("cost", "CPU % per Gbit/s"), *([("retransmits", "retransmissions")] if retransmits else []), ("lost", "lost")]
    heads = [f"{unit}: {NAMES[path]}" for _, unit in figures for path in paths]
    lines = [f"Guests: {KIND_NAMES[kind]}\n", f"| direction | MTU | ports | guests | {' | '.join(heads)} |",
             "|---|---|---|---|" + "---|" * len(heads)]
    for direction in DIRECTIONS:
        loads = sorted({(row["mtu"], row["ports"], row["guests"]) for row in _select(rows, direction=direction)})
        for mtu, ports, guests in loads:
            of_path = {row["path"]: dict(row) for row in _select(rows, direction=direction, mtu=mtu, ports=ports, guests=guests)}
            for row in of_path.values():
                row["cost"] = row["host_cpu_percent"] / row["gbps"] if row["gbps"] else None
            cells = [_number(of_path[path][key]) if path in of_path else "-" for key, _ in figures for path in paths]
            lines.append(f"| {direction} | {mtu} | {ports} | {guests} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _panel(rows, direction, key, unit):
    """One diagram, as gnuplot's commands: a line for each path, full for one port and broken for two."""
    data, plots = [], []
    for path in PATHS:
        for ports in (1, 2):
            points = sorted((row["guests"], row[key]) for row in _select(rows, direction=direction, path=path, ports=ports))
            if not points:
                continue
            name = f"${direction}_{key}_{path}_{ports}"
            data += [f"{name} << END", *(f"{guests} {value}" for guests, value in points), "END"]
            plots.append(f"{name} using 1:2 with linespoints lw 2 pt {5 + 2 * ports} dt {1 if ports == 1 else 2} "
                         f"lc rgb {quoted(COLOURS[path])} title {quoted(f'{NAMES[path]}, {ports} port' + 's' * (ports > 1))}")
    return [*data, f"set title {quoted(direction)}", f"set ylabel {quoted(unit)}", "plot " + ", ".join(plots)] if plots else []


def _plot(path, title, rows):
    script = ["set terminal svg size 1000,760 background '#ffffff'", f"set output {quoted(path)}", "set logscale x 2",
              "set xtics (1, 2, 4, 8)", "set xrange [0.9:8.9]", "set yrange [0:*]", "set grid", "set xlabel 'guests'",
              "set key bottom right", f"set multiplot layout 2,2 title {quoted(title)}"]
    for key, unit in FIGURES:
        for direction in DIRECTIONS:
            script += _panel(rows, direction, key, unit)
    subprocess.run(["gnuplot"], input="\n".join([*script, "unset multiplot"]) + "\n", text=True, check=True)


def write(folder, rows):
    """Writes table and plots; the paths of what was written."""
    if not rows:
        return []
    os.makedirs(folder, exist_ok=True)
    files = [os.path.join(folder, "table.md")]
    with open(files[0], "w", encoding="utf-8") as file:
        file.write(markdown(rows))
    for kind in _values(rows, "guest_kind") if shutil.which("gnuplot") else []:
        for mtu in _values(_select(rows, guest_kind=kind), "mtu"):
            files.append(os.path.join(folder, f"evaluation-{kind}-{mtu}.svg"))
            _plot(files[-1], f"{KIND_NAMES[kind]}, MTU {mtu}", _select(rows, guest_kind=kind, mtu=mtu))
    return files
