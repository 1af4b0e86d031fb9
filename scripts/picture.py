#!/usr/bin/env python3
"""Draws a terminal screen as an SVG picture.

    picture.py OUT.svg --run "danlu --lang en --adapter cpu --size 1m --run r" --seconds 75
    picture.py OUT.svg --ansi CAPTURE

With --run the command is started in a separate tmux server, the screen is captured after --seconds and the
command is stopped with `q`. --keys are typed before that, each as `SECONDS:KEY` in tmux's names (`40:3`, `50:Tab`).
With --ansi the screen is read from a file of text with colour sequences, as `tmux capture-pane -e -p` writes it.
Python 3 and its standard library; --run needs tmux.
"""

import argparse
import os
import re
import subprocess
import sys
import time
import unicodedata
from xml.sax.saxutils import escape

FONT = "'JetBrains Mono','Cascadia Mono',Menlo,Consolas,'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace"
SIZE, WIDTH, HEIGHT, MARGIN = 14.0, 8.43, 16.3, 14.0
BACKGROUND, FOREGROUND = "#16181d", "#d4d7dd"
# The 16 named colours on a dark terminal.
NAMED = [
    "#1d1f21", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4",
    "#6b7280", "#f28b93", "#b5d99c", "#f0d399", "#8cc7f7", "#d9a3e8", "#7fd0da", "#ffffff",
]


def indexed(n):
    """The RGB value of one of the 256 colours."""
    if n < 16:
        return NAMED[n]
    if n < 232:
        steps = [0, 95, 135, 175, 215, 255]
        n -= 16
        return "#%02x%02x%02x" % (steps[n // 36], steps[n // 6 % 6], steps[n % 6])
    return "#%02x%02x%02x" % ((8 + 10 * (n - 232),) * 3)


class Style:
    """Colours and weight of a cell."""

    def __init__(self):
        self.fg = self.bg = None
        self.bold = self.dim = self.italic = self.underline = self.reverse = False

    def key(self):
        """Foreground, background, classes."""
        fg, bg = self.fg, self.bg
        if self.reverse:
            fg, bg = bg or BACKGROUND, fg or FOREGROUND
        names = [("b", self.bold), ("d", self.dim), ("i", self.italic), ("u", self.underline)]
        return fg or FOREGROUND, bg, "".join(name for name, on in names if on)

    def apply(self, codes):
        """Applies one SGR sequence."""
        codes = list(codes) or [0]
        while codes:
            c = codes.pop(0)
            if c == 0:
                self.__init__()
            elif c in (1, 2, 3, 4, 7):
                setattr(self, {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse"}[c], True)
            elif c == 22:
                self.bold = self.dim = False
            elif c in (23, 24, 27):
                setattr(self, {23: "italic", 24: "underline", 27: "reverse"}[c], False)
            elif c in (38, 48) and codes:
                kind = codes.pop(0)
                colour = indexed(codes.pop(0)) if kind == 5 else "#%02x%02x%02x" % tuple(codes.pop(0) for _ in "rgb")
                setattr(self, "fg" if c == 38 else "bg", colour)
            elif 30 <= c <= 37 or 90 <= c <= 97:
                self.fg = NAMED[c - 30 if c < 90 else c - 82]
            elif 40 <= c <= 47 or 100 <= c <= 107:
                self.bg = NAMED[c - 40 if c < 100 else c - 92]
            elif c == 39:
                self.fg = None
            elif c == 49:
                self.bg = None


def cells(text):
    """The rows of a capture: lists of (column, width, characters, style)."""
    style, rows = Style(), []
    for line in text.rstrip("\n").split("\n"):
        row, column = [], 0
        for part in re.findall(r"\x1b\[[0-9;:]*m|\x1b[^m]|[^\x1b]", line):
            if part.startswith("\x1b["):
                style.apply(int(n or 0) for n in re.split("[;:]", part[2:-1]))
            elif part[0] == "\x1b":
                continue
            elif unicodedata.combining(part) and row:
                at, width, chars, key = row[-1]
                row[-1] = (at, width, chars + part, key)
            else:
                width = 2 if unicodedata.east_asian_width(part) in "WF" else 1
                row.append((column, width, part, style.key()))
                column += width
        rows.append(row)
    return rows


def number(x):
    return ("%.2f" % x).rstrip("0").rstrip(".")


def place(column):
    return number(MARGIN + column * WIDTH)


# The arms of lines: left, right, up, down.
LINES = {
    "─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "rud", "┤": "lud", "┬": "lrd", "┴": "lru",
    "┼": "lrud", "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu", "╎": "ud", "┆": "ud", "┊": "ud", "╌": "lr", "┄": "lr",
}
DASHED = "╎┆┊╌┄"
# Bits of braille: column and row of their dots.
DOTS = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)]


def kind(char):
    """How a character is drawn: `a` as text of one length, `t` as text in its cell, otherwise as a shape."""
    if " " <= char <= "~":
        return "a"
    if "\u2800" <= char <= "\u28ff":
        return "dots"
    if "▀" <= char <= "▐":
        return "block"
    if char in LINES:
        return "dashes" if char in DASHED else "line"
    return "t"


def shape(char, column, top):
    """The path of a line, block or braille character: unlike a terminal, fonts do not join these between cells."""
    x, y = MARGIN + column * WIDTH, top
    rect = lambda left, up, w, h: f"M{number(left)} {number(up)}h{number(w)}v{number(h)}h{number(-w)}z"
    of = kind(char)
    if of == "dots":
        bits, dot = ord(char) - 0x2800, 2.3
        at = lambda c, r: (x + WIDTH * (0.25 + c / 2) - dot / 2, y + HEIGHT * (0.125 + r / 4) - dot / 2)
        return "".join(rect(*at(c, r), dot, dot) for n, (c, r) in enumerate(DOTS) if bits >> n & 1)
    if of == "block":
        n = ord(char) - 0x2580
        if n == 0:
            return rect(x, y, WIDTH, HEIGHT / 2)
        if n <= 8:
            return rect(x, y + HEIGHT * (1 - n / 8), WIDTH, HEIGHT * n / 8)
        left = x + WIDTH / 2 if n == 16 else x
        return rect(left, y, WIDTH / 2 if n == 16 else WIDTH * (16 - n) / 8, HEIGHT)
    middle, centre = x + WIDTH / 2, y + HEIGHT / 2
    ends = {"l": (x, centre), "r": (x + WIDTH, centre), "u": (middle, y), "d": (middle, y + HEIGHT)}
    return "".join(f"M{number(middle)} {number(centre)}L{number(ends[a][0])} {number(ends[a][1])}" for a in LINES[char])


def drawn(rows):
    """The SVG of rows of cells."""
    columns = max((c + w for row in rows for c, w, _, _ in row), default=1)
    width, height = 2 * MARGIN + columns * WIDTH, 2 * MARGIN + len(rows) * HEIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}">',
        f"<style>text{{font:{number(SIZE)}px {FONT};white-space:pre}}"
        ".b{font-weight:bold}.d{opacity:.6}.i{font-style:italic}.u{text-decoration:underline}</style>",
        f'<rect width="100%" height="100%" rx="10" fill="{BACKGROUND}"/>',
    ]
    for n, row in enumerate(rows):
        top = MARGIN + n * HEIGHT
        out += backgrounds(row, top)
        out += (element(run, top) for run in runs(row))
    out.append("</svg>")
    return "\n".join(out) + "\n"


def element(run, top):
    """The element for adjacent cells with the same style."""
    fg, _, names = run[0][3]
    of = kind(run[0][2][0])
    dim = ' class="d"' if "d" in names else ""
    if of in ("dots", "block"):
        return f'<path d="{"".join(shape(c[2], c[0], top) for c in run)}" fill="{fg}"{dim}/>'
    if of in ("line", "dashes"):
        dashes = ' stroke-dasharray="2.6 1.4"' if of == "dashes" else ""
        if of == "line" and all(c[2] == "─" for c in run):
            y = number(top + HEIGHT / 2)
            path = f"M{place(run[0][0])} {y}H{place(run[-1][0] + 1)}"
        else:
            path = "".join(shape(c[2], c[0], top) for c in run)
        return f'<path d="{path}" stroke="{fg}"{dashes}{dim}/>'
    classes = f' class="{" ".join(names)}"' if names else ""
    base = number(top + 0.78 * HEIGHT)
    if of == "a":
        # One position and the total length: the width of the font in use may differ.
        chars = "".join(c[2] for c in run)
        where = f'x="{place(run[0][0])}" textLength="{number(len(chars) * WIDTH)}"'
        return f'<text {where} y="{base}" fill="{fg}"{classes}>{escape(chars)}</text>'
    # A position per character: fallback fonts for Chinese have other widths.
    spans = []
    for column, width, char, _ in run:
        inset = max(0.0, (width * WIDTH - SIZE) / 2) if width == 2 else 0.0
        spans.append(f'<tspan x="{number(MARGIN + column * WIDTH + inset)}">{escape(char)}</tspan>')
    return f'<text y="{base}" fill="{fg}"{classes}>{"".join(spans)}</text>'


def backgrounds(row, top):
    """Rectangles behind cells, one for adjacent cells of a colour."""
    spans = []
    for column, width, _, (_, bg, _) in row:
        if bg and spans and spans[-1][2] == bg and spans[-1][1] == column:
            spans[-1][1] = column + width
        elif bg:
            spans.append([column, column + width, bg])
    return [
        f'<rect x="{place(a)}" y="{number(top)}" width="{number((b - a) * WIDTH + 0.3)}" '
        f'height="{number(HEIGHT + 0.3)}" fill="{bg}"/>'
        for a, b, bg in spans
    ]


def runs(row):
    """Adjacent cells with the same style, without blanks."""
    run = []
    for cell in row:
        joins = run and run[-1][3] == cell[3] and run[-1][0] + run[-1][1] == cell[0]
        joins = joins and kind(run[-1][2][0]) == kind(cell[2][0])
        if run and (cell[2] == " " or not joins):
            yield run
            run = []
        if cell[2] != " ":
            run.append(cell)
    if run:
        yield run


def captured(command, seconds, size, keys):
    """The screen of a command after this many seconds."""
    server = ["tmux", "-L", f"picture-{os.getpid()}", "-f", os.devnull]
    columns, rows = size.split("x")
    env = {**os.environ, "LC_ALL": "C.UTF-8", "COLORTERM": "truecolor"}

    def tmux(*words):
        return subprocess.run([*server, *words], env=env, check=True, capture_output=True, text=True).stdout

    tmux("new-session", "-d", "-s", "p", "-x", columns, "-y", rows, command)
    try:
        tmux("set", "-g", "status", "off")
        begun = time.monotonic()
        for at, key in keys:
            time.sleep(max(0.0, begun + at - time.monotonic()))
            tmux("send-keys", "-t", "p", key)
        time.sleep(max(0.0, begun + seconds - time.monotonic()))
        screen = tmux("capture-pane", "-t", "p", "-e", "-p")
        tmux("send-keys", "-t", "p", "q")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and subprocess.run([*server, "has-session"], capture_output=True).returncode == 0:
            time.sleep(0.2)
    finally:
        subprocess.run([*server, "kill-server"], capture_output=True, check=False)
    return screen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the picture to write")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", metavar="COMMAND", help="the command whose screen is captured")
    source.add_argument("--ansi", metavar="FILE", help="a capture to read")
    parser.add_argument("--seconds", type=float, default=75, help="when the screen is captured (75)")
    parser.add_argument("--size", default="120x36", help="columns and rows (120x36)")
    parser.add_argument("--keys", nargs="*", default=[], metavar="SECONDS:KEY", help="keys to type on the way")
    parser.add_argument("--keep", metavar="FILE", help="also writes the capture, for --ansi")
    a = parser.parse_args()
    if a.run:
        keys = [(float(k.split(":", 1)[0]), k.split(":", 1)[1]) for k in a.keys]
        screen = captured(a.run, a.seconds, a.size, keys)
        if not screen.strip():
            sys.exit(f"picture.py: {a.run!r} showed nothing after {a.seconds} s; does it run in a terminal?")
    else:
        with open(a.ansi, encoding="utf-8") as f:
            screen = f.read()
    if a.keep:
        with open(a.keep, "w", encoding="utf-8") as f:
            f.write(screen)
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(drawn(cells(screen)))


if __name__ == "__main__":
    main()
