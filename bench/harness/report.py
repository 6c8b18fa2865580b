# SPDX-License-Identifier: Apache-2.0
"""What a run shows: progress, tables, JSON lines, plots."""
import json
import shutil
import subprocess
import sys


class Progress:
    """One line that changes, on a terminal only."""

    def __init__(self):
        self.shown = sys.stderr.isatty()

    def __call__(self, text):
        if self.shown:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()

    def clear(self):
        self("")


def table(rows, columns):
    """Text with aligned columns; 'columns' are (heading, function of a row) pairs. Those without a value are left out."""
    columns = [(heading, function) for heading, function in columns if any(function(row) is not None for row in rows)]
    cells = [[heading for heading, _ in columns]]
    cells += [["-" if value is None else str(value) for value in (function(row) for _, function in columns)]
              for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(line, widths))).rstrip()
                     for line in cells)


def write_json_lines(path, results):
    with open(path, "w", encoding="ascii") as file:
        for result in results:
            file.write(json.dumps(result) + "\n")


def plot_bars(path, title, label, groups, series):
    """An SVG of grouped bars by gnuplot. 'groups': names; 'series': name -> list of values or None per group."""
    if not shutil.which("gnuplot"):
        return False
    names = list(series)
    script = [f"set terminal svg size {max(640, 140 + 70 * len(groups))},480 background '#ffffff'",
              f"set output {quoted(path)}", f"set title {quoted(title)}", f"set ylabel {quoted(label)}",
              "set style data histograms", "set style histogram clustered gap 1",
              "set style fill solid 0.8 border -1", "set grid ytics", "set yrange [0:*]",
              "set xtics rotate by -35", "set key outside top center horizontal", "set datafile missing '-'",
              "$data << END"]
    for i, group in enumerate(groups):
        values = " ".join("-" if series[name][i] is None else str(series[name][i]) for name in names)
        script.append(f'"{group}" {values}')
    script.append("END")
    script.append("plot " + ", ".join(f"$data using {i + 2}:xtic(1) title {quoted(name)}"
                                      for i, name in enumerate(names)))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
    return True


def quoted(text):
    """A string of gnuplot."""
    return "'" + text.replace("'", "''") + "'"
