#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws what `ferry bench peers --json` has measured.

    plot.py FIGURES.json DIRECTORY

writes peers-latency.svg, peers-throughput.svg and peers-waiting.svg there. Needs nothing but Python.
"""
import json
import math
import os
import sys
from xml.sax.saxutils import escape

WIDTH = 860
NAMES = 140  # width of the column of names
ROW = 22
TOP = 78
STYLE = """
svg { font-family: system-ui, "DejaVu Sans", Helvetica, Arial, sans-serif; font-size: 12.5px; }
.paper { fill: #ffffff; } text { fill: #1f2328; } .soft { fill: #59636e; font-size: 11.5px; }
.title { font-size: 17px; font-weight: 600; } .ours { font-weight: 600; } .panel { font-size: 13.5px; font-weight: 600; }
.grid { stroke: #d8dee4; stroke-width: 1; } .ferry { fill: #c2410c; } .other { fill: #6b87ad; }
.mark { stroke-width: 2.5; } .mark.ferry { stroke: #c2410c; } .mark.other { stroke: #6b87ad; }
.reach { stroke-width: 1.5; stroke-dasharray: 2 2; } .reach.ferry { stroke: #c2410c; } .reach.other { stroke: #6b87ad; }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117; } text { fill: #e6edf3; } .soft { fill: #9198a1; } .grid { stroke: #30363d; }
.ferry { fill: #fb8c4b; } .other { fill: #7f9cc4; } .mark.ferry, .reach.ferry { stroke: #fb8c4b; }
.mark.other, .reach.other { stroke: #7f9cc4; } }
"""


def short(value):
    """Two or three figures, never an exponent."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def scaled(value, units):
    for scale, unit in units:
        if value >= 0.9995 * scale:
            break
    return f"{short(value / scale)} {unit}"


def show_time(ns):
    return scaled(ns, [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")])


def show_rate(per_s):
    return scaled(per_s, [(1e6, "M/s"), (1e3, "k/s"), (1, "/s")])


def show_flow(bytes_per_s):
    return scaled(bytes_per_s, [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")])


def show_percent(share):
    return f"{short(share)} %" if share >= 0.1 else f"{share:.3f} %"


def round_figure(value, show):
    """A tick's label: without figures behind the point that say nothing."""
    number, unit = show(value).split(" ")
    return f"{float(number):g} {unit}"


class Axis:
    """Powers of ten from below the least value to above the largest, between two places."""

    def __init__(self, values, left, right):
        self.low = math.floor(math.log10(min(values)) - 0.02)
        self.high = max(math.ceil(math.log10(max(values)) - 1e-9), self.low + 1)
        self.left, self.right = left, right

    def at(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.left + max(0.0, min(1.0, part)) * (self.right - self.left)

    def ticks(self):
        step = 2 if self.high - self.low > 5 else 1
        return [10.0**e for e in range(self.low, self.high + 1, step)]


class Picture:
    def __init__(self, height):
        self.height = height
        self.parts = []

    def text(self, x, y, words, kind="", anchor="start"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, x1, x2, y, kind):
        wide = max(x2 - x1, 2)
        self.parts.append(f'<rect x="{x1:.1f}" y="{y:.1f}" width="{wide:.1f}" height="13" rx="2" class="{kind}"/>')

    def head(self, title, rows, note):
        self.text(20, 30, title, "title")
        self.text(20, 51, f'{rows[0]["machine"]}; {rows[0]["date"]}. {note}', "soft")

    def grid(self, axis, top, bottom, show):
        for value in axis.ticks():
            x = axis.at(value)
            self.line(x, top, x, bottom, "grid")
            self.text(x, bottom + 15, round_figure(value, show), "soft", "middle")

    def name(self, row, y, x=20 + NAMES):
        self.text(x - 8, y + 11, row["label"], "ours" if row["peer"] == "Ferry" else "", "end")

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:.0f}" '
                       f'width="{WIDTH}" height="{self.height:.0f}" role="img">\n<style>{STYLE}</style>\n'
                       f'<rect class="paper" width="100%" height="100%" rx="6"/>\n')
            file.write("\n".join(self.parts) + "\n</svg>\n")


def colour(row):
    return "ferry" if row["peer"] == "Ferry" else "other"


def read(path):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    rows = [row for row in rows if row.get("bench") == "peers"]
    if not rows:
        sys.exit(f"plot.py: {path} has nothing of `ferry bench peers --json`")
    names = [row["peer"] for row in rows]
    for row in rows:
        row["label"] = f'{row["peer"]}, {row["wait"]}' if names.count(row["peer"]) > 1 else row["peer"]
    return rows


def footnote(picture, rows, y):
    absent = sorted({row["peer"] for row in rows if "package" in row})
    if absent:
        picture.text(20, y, "Not built there, so not measured: " + ", ".join(absent) + ".", "soft")


def draw_latency(rows, path):
    shown = sorted((row for row in rows if row["p50_ns"]), key=lambda row: row["p50_ns"])
    fields = ["p50_ns", "p99_ns", "p999_ns"]
    bottom = TOP + ROW * len(shown) + 16
    picture = Picture(bottom + 52)
    columns = [WIDTH - 160, WIDTH - 90, WIDTH - 20]
    axis = Axis([row[field] for row in shown for field in fields], 20 + NAMES, columns[0] - 80)
    picture.head("Round trip of 64 bytes between two processes", rows, "Shorter is better; logarithmic.")
    picture.grid(axis, TOP + 8, bottom, show_time)
    for x, words in zip(columns, ["p50 (bar)", "p99 ( | )", "p99.9 ( | )"]):
        picture.text(x, TOP + 2, words, "soft", "end")
    for i, row in enumerate(shown):
        y = TOP + 12 + i * ROW
        kind = colour(row)
        picture.name(row, y)
        picture.line(axis.at(row["p50_ns"]), y + 6.5, axis.at(row["p999_ns"]), y + 6.5, "reach " + kind)
        picture.bar(axis.left, axis.at(row["p50_ns"]), y, kind)
        for field in fields[1:]:
            picture.line(axis.at(row[field]), y, axis.at(row[field]), y + 13, "mark " + kind)
        for x, field in zip(columns, fields):
            picture.text(x, y + 11, show_time(row[field]), "ours" if kind == "ferry" else "", "end")
    footnote(picture, rows, bottom + 38)
    picture.write(path)


def draw_panel(picture, rows, size, words, left, top):
    field = f"msgs_per_s_{size}"
    shown = sorted((row for row in rows if row[field]), key=lambda row: -row[field])
    right = left + WIDTH / 2 - 20
    times = size if size >= 65536 else 1
    show = show_flow if size >= 65536 else show_rate
    bottom = top + 14 + ROW * len(rows)
    picture.text(left, top, words, "panel")
    if not shown:
        return
    axis = Axis([row[field] * times for row in shown], left + NAMES - 20, right - 80)
    picture.grid(axis, top + 8, bottom, show)
    for i, row in enumerate(shown):
        y = top + 13 + i * ROW
        value = row[field] * times
        picture.name(row, y, left + NAMES - 20)
        picture.bar(axis.left, axis.at(value), y, colour(row))
        picture.text(right - 2, y + 11, show(value), "ours" if row["peer"] == "Ferry" else "", "end")


def draw_throughput(rows, path):
    panels = [(64, "64 B, messages"), (1024, "1 KiB, messages"), (65536, "64 KiB, bytes"), (1048576, "1 MiB, bytes")]
    there = [row for row in rows if row["measured"]]
    deep = 14 + ROW * len(there) + 46
    picture = Picture(TOP + 2 * deep + 28)
    picture.head("From one process to another, per second", rows, "Longer is better; logarithmic.")
    for i, (size, words) in enumerate(panels):
        draw_panel(picture, there, size, words, 20 + (i % 2) * (WIDTH / 2 - 10), TOP + 8 + (i // 2) * deep)
    footnote(picture, rows, TOP + 2 * deep + 12)
    picture.write(path)


def draw_waiting(rows, path):
    shown = [row for row in rows if row["idle_cpu_ms"] is not None]
    shares = {row["label"]: 100 * max(row["idle_cpu_ms"] * 1e6 / row["idle_ns"], 1e-5) for row in shown}
    shown.sort(key=lambda row: shares[row["label"]])
    bottom = TOP + ROW * len(shown) + 16
    picture = Picture(bottom + 52)
    axis = Axis(shares.values(), 20 + NAMES, WIDTH - 310)
    picture.head("What waiting for a message costs", rows, "Shorter is better; logarithmic.")
    picture.grid(axis, TOP + 8, bottom, show_percent)
    picture.text(WIDTH - 200, TOP + 2, "of a processor", "soft", "end")
    picture.text(WIDTH - 170, TOP + 2, "what must be set up first", "soft")
    for i, row in enumerate(shown):
        y = TOP + 12 + i * ROW
        picture.name(row, y)
        picture.bar(axis.left, axis.at(shares[row["label"]]), y, colour(row))
        picture.text(WIDTH - 200, y + 11, show_percent(shares[row["label"]]), "ours" if row["peer"] == "Ferry" else "", "end")
        picture.text(WIDTH - 170, y + 11, row["setup"])
    footnote(picture, rows, bottom + 38)
    picture.write(path)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py FIGURES.json DIRECTORY")
    rows = read(sys.argv[1])
    os.makedirs(sys.argv[2], exist_ok=True)
    for name, draw in [("latency", draw_latency), ("throughput", draw_throughput), ("waiting", draw_waiting)]:
        draw(rows, os.path.join(sys.argv[2], f"peers-{name}.svg"))


main()
