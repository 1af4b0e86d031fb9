"""Trains for a long time and checks that nothing grows: memory, open files, threads, the logs.

Without a screen and in the workbench, whose terminal stops reading in the second half. Over the second half memory
must grow by less than 1 MiB in ten minutes, files and threads not at all, and the logs in proportion to the steps.

    python3 scripts/trials/flat.py --danlu target/release/danlu --minutes 30
"""

import os
import signal
import subprocess
import time

import trials
from screen import Screen

SETTINGS = ["batch_size=2", "context=32", "steps=100000000", "save_steps=2000", "eval_steps=1000", "probe_steps=500"]
GROWTH = 1.0
LINE = 400.0


def look(pid):
    """KiB resident, open files, threads."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return resident, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def slope(points):
    """Growth per second, by least squares."""
    n = len(points)
    x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    return sum((p[0] - x) * (p[1] - y) for p in points) / max(1e-9, sum((p[0] - x) ** 2 for p in points))


def main():
    args = trials.options(__doc__.splitlines()[0], 1, minutes=(2.0, "how long"))
    danlu = trials.Danlu(args, "flat")
    table = trials.Table("process")
    plain, shown = danlu.folder("plain"), danlu.folder("shown")
    child = danlu.start(trials.train(plain, "pretrain", trials.TINY + SETTINGS, "--size", "1m"), subprocess.DEVNULL, subprocess.DEVNULL)
    settings = trials.TINY + [f"pretrain.{s}" for s in SETTINGS]
    screen = Screen([danlu.path, "--run", shown, "--size", "1m", "--adapter", "cpu", "--lang", "en", *trials.sets(settings)],
                    danlu.env, danlu.work)
    screen.shows(b"\x1b[?1049h", 60)
    rows = {"headless": (child.pid, plain, []), "screen": (screen.pid, shown, [])}
    begun, seconds, keys = time.time(), args.minutes * 60, 0
    while time.time() - begun < seconds:
        passed = time.time() - begun
        for pid, _, points in rows.values():
            try:
                points.append((passed, *look(pid)))
            except (OSError, StopIteration):
                pass
        if passed > seconds / 2:
            screen.reading = False
        elif int(passed) // 20 >= keys:
            screen.press([b"1", b"2", b"\t", b"?", b"\x1b", b"p", b"p"][keys % 7])
            keys += 1
        time.sleep(1)
    for name, (pid, run, points) in rows.items():
        problems = []
        second = [p for p in points if p[0] > seconds / 2 + seconds / 20]
        if len(second) < 10:
            table.verdict(name, run, ["it did not live to the end"])
            continue
        growth = slope(second) * 600 / 1024
        if growth >= GROWTH:
            problems.append(f"memory grows by {growth:.2f} MiB in ten minutes")
        for at, what in ((2, "open files"), (3, "threads")):
            # One writer may be active at either end.
            if max(p[at] for p in second[-10:]) > max(p[at] for p in second[: len(second) // 2]) + 1:
                problems.append(f"{what} grow from {second[0][at]} to {second[-1][at]}")
        log = os.path.join(run, "metrics.jsonl")
        with open(log, "rb") as file:
            steps = sum(1 for _ in file)
        each = os.path.getsize(log) / max(1, steps)
        if each > LINE:
            problems.append(f"metrics.jsonl grows by {each:.0f} bytes a step")
        if len(trials.listed(run)) > 6:
            problems.append(f"{len(trials.listed(run))} checkpoints are kept")
        table.count(name, steps=steps, most_MiB=max(p[1] for p in points) // 1024, most_growth_MiB_in_10_min=round(growth, 3),
                    most_files=max(p[2] for p in second), most_threads=max(p[3] for p in second), most_bytes_a_step=int(each))
        table.verdict(name, run, problems)
    screen.reading = True
    screen.signal(signal.SIGTERM)
    ended = screen.wait(30)
    table.verdict("screen ends on SIGTERM", shown, ([] if ended and screen.code == 0 else [f"exit {screen.code}"]) + screen.left())
    screen.close()
    trials.end(child, signal.SIGTERM)
    table.verdict("headless ends on SIGTERM", plain, [] if child.returncode == 0 else [f"exit {child.returncode}"])
    table.end(danlu)


main()
