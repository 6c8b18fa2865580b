# SPDX-License-Identifier: Apache-2.0
"""The demo's time line: throughput and CPU over time, with the moves marked, by gnuplot."""
import subprocess

COLOURS = {True: "#d9f2d9", False: "#f7e6d0"}  # behind what is offloaded, onload
CPU = (("vswitch_cpu", "Open vSwitch", "#d62728"), ("fastpath_cpu", "fast path", "#2ca02c"), ("guests_cpu", "guests", "#7f7f7f"))


def text(words):
    return "'" + words.replace("'", "''") + "'"


def spans(phase):
    """(from, to, offloaded) of a phase, between its moves."""
    begin, offloaded = phase["begin"], False
    for move in phase["moves"]:
        yield begin, move["seconds"], offloaded
        begin, offloaded = move["seconds"], move["offloaded"]
    yield begin, phase["end"], offloaded


def panel(title, phases, series, label):
    lines = ["unset object", "unset arrow", "unset label", "set lmargin 10", "set rmargin 22", f"set title {text(title)}", f"set ylabel {text(label)}"]
    for phase in phases:
        for begin, end, offloaded in spans(phase):
            lines.append(f"set object rectangle from {begin},graph 0 to {end},graph 1 behind fillcolor rgb '{COLOURS[offloaded]}' "
                         "fillstyle solid noborder")
        for move in phase["moves"]:
            lines.append(f"set arrow from {move['seconds']},graph 0 to {move['seconds']},graph 1 nohead dashtype 2 front")
        lines.append(f"set label {text(phase['title'])} at {phase['begin']},graph 0.95 offset 0.5,0 front")
    lines.append("plot " + ", ".join(f"$samples using 1:{column} with lines linewidth 2 linecolor rgb '{colour}' title {text(name)}"
                                     for column, name, colour in series))
    return lines


def draw(path, phases):
    """Writes PATH.svg and PATH.png; returns their names."""
    rows = ["$samples << END"]
    for phase in phases:
        for sample in phase["samples"]:
            rows.append(" ".join(str(sample[key]) for key in ("seconds", "mbps", *(key for key, _, _ in CPU))))
        rows.append("")  # a gap in the lines
    rows.append("END")
    files = []
    for terminal, ending in (("svg size 1000,640 background '#ffffff'", "svg"), ("png size 1000,640", "png")):
        script = [f"set terminal {terminal}", f"set output {text(f'{path}.{ending}')}", *rows, "set multiplot layout 2,1",
                  "set xlabel 'seconds'", "set yrange [0:*]", f"set xrange [{phases[0]['begin']}:{phases[-1]['end']}]",
                  "set key outside right top", "set grid ytics",
                  *panel("Throughput (green: by the fast path; brown: through Open vSwitch; dashes: all flows move)", phases,
                         [(2, "TCP", "#1f77b4")], "Mbit/s"),
                  *panel("CPU", phases, [(i + 3, name, colour) for i, (_, name, colour) in enumerate(CPU)], "% of a core"),
                  "unset multiplot"]
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
        files.append(f"{path}.{ending}")
    return files
