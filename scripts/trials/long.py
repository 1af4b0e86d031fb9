"""Long runs on the screen: how soon a million logged steps are shown and in how much memory, the bytes of an update while
a model trains, and the memory of a replay of hours.

    python3 scripts/trials/long.py --danlu target/release/danlu --steps 1000000 --hours 8 --seconds 72
"""

import json
import math
import os
import signal
import time

import trials
from screen import Screen

SETTINGS = ["batch_size=2", "context=32", "save_steps=0", "warmup_steps=2"]
STEP_MS = 100.0
BEGUN = 1.7e9


def memory(pid, field):
    """KiB of a field of /proc/PID/status; 0 once the process has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(field + ":")), 0)
    except OSError:
        return 0


def busy(pid):
    """Seconds of processor time so far; 0 once the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def step(at, tokens):
    """A line of metrics.jsonl: a falling loss with noise and some spikes."""
    noise = (at * 2654435761 % 100003) / 100003
    loss = 1.5 + 7.0 / math.sqrt(1 + at / 200) + 0.4 * noise + (3.0 if at % 77777 == 0 else 0.0)
    return {"stage": "pretrain", "time": BEGUN + at * STEP_MS / 1e3, "step": at, "loss": loss, "learning_rate": 3e-3 / (1 + at / 1e5),
            "grad_norm": 0.5 + noise, "applied": True, "tokens_per_second": 640.0 + 20 * noise, "total_tokens": at * tokens,
            "epoch": at * tokens / 1e5, "step_ms": STEP_MS + noise}


def write(run, steps, every):
    """Replaces the logs of a short run by those of a long one: an evaluation and a probe every so many steps."""
    path = os.path.join(run, "events.jsonl")
    with open(path, encoding="utf8") as file:
        events = [json.loads(line) for line in file]
    launch = next(e for e in events if e["event"] == "started")
    evaluation = next(e for e in events if e["event"] == "eval" and e["source"] == "all")
    probe = next(e for e in events if e["event"] == "probe")
    with open(path, "w", encoding="utf8") as file:
        print(json.dumps(dict(launch, time=BEGUN, steps=steps, resumed_at=0)), file=file)
        for at in range(every, steps + 1, every):
            when = BEGUN + at * STEP_MS / 1e3
            loss = 2.0 + 6.0 / math.sqrt(1 + at / 200)
            print(json.dumps(dict(evaluation, time=when, step=at, eval_loss=loss)), file=file)
            print(json.dumps(dict(probe, time=when, step=at)), file=file)
    with open(os.path.join(run, "metrics.jsonl"), "w", encoding="utf8") as file:
        for at in range(1, steps + 1):
            print(json.dumps(step(at, 64)), file=file)


def screen(danlu, *argv):
    """The screen of 120 × 36 of a command."""
    return Screen([danlu.path, *argv], dict(danlu.env, RAYON_NUM_THREADS="2"), danlu.work)


def main():
    args = trials.options(__doc__.splitlines()[0], 1, steps=(1_000_000, "logged steps"), hours=(8.0, "of the replay"),
                          seconds=(72.0, "that it takes"))
    danlu = trials.Danlu(args, "long")
    table = trials.Table("what")
    run = danlu.folder("run")
    made = danlu.run(trials.train(run, "pretrain", trials.TINY + SETTINGS + ["steps=4", "eval_steps=2", "probe_steps=2"], "--size", "1m"))
    if made.code != 0:
        table.verdict("a short run", run, [str(made)])
        return table.end(danlu)

    write(run, args.steps, max(1, args.steps // 1000))
    begun = time.time()
    shown = screen(danlu, "replay", run, "--lang", "en")
    problems = [] if shown.shows(b"\x1b[?2026l", 20) else ["no frame"]
    first = time.time() - begun
    problems += [] if shown.shows(f"{args.steps:,}".encode(), 60) else ["the newest step is not shown"]
    whole, peak, cpu = time.time() - begun, memory(shown.pid, "VmHWM") / 1024, busy(shown.pid)
    table.count("open", first_frame_s=round(first, 2), curves_whole_s=round(whole, 2), cpu_s=round(cpu, 2), peak_MiB=round(peak, 1),
                log_MiB=os.path.getsize(os.path.join(run, "metrics.jsonl")) >> 20)
    shown.press(b"+")
    time.sleep(1)
    shown.close()
    if first > 0.5 or whole > 4 or peak > 60:
        problems.append(f"first frame {first:.2f} s, whole {whole:.2f} s, {peak:.0f} MiB")
    table.verdict("open", run, problems)

    steps = int(args.hours * 3600 * 1e3 / STEP_MS)
    write(run, steps, 25)
    shown, begun, points = screen(danlu, "replay", run, "--speed", str(args.hours * 3600 / args.seconds), "--lang", "en"), time.time(), []
    while time.time() - begun < args.seconds and not shown.ended():
        points.append((time.time() - begun, memory(shown.pid, "VmRSS") / 1024))
        time.sleep(0.5)
    ended = shown.shows(f"{steps:,}".encode(), args.seconds / 2)
    second = [p for p in points if p[0] > args.seconds / 2]
    n = max(1, len(second))
    x, y = sum(p[0] for p in second) / n, sum(p[1] for p in second) / n
    slope = sum((p[0] - x) * (p[1] - y) for p in second) / max(1e-9, sum((p[0] - x) ** 2 for p in second))
    hourly = slope * args.seconds / args.hours
    table.count("replay", hours=args.hours, steps=steps, MiB=round(max((p[1] for p in points), default=0), 1),
                growth_MiB_an_hour=round(hourly, 3), bytes_a_frame=sum(shown.frames) // max(1, len(shown.frames)))
    shown.close()
    table.verdict("replay", run, ([] if ended else ["it did not reach the end"]) +
                  ([f"memory grows by {hourly:.2f} MiB in an hour"] if hourly > 0.5 else []))

    run = danlu.folder("trained")
    settings = trials.sets(trials.TINY + [f"pretrain.{s}" for s in SETTINGS + ["steps=1000000", "eval_steps=100", "probe_steps=50"]])
    shown = screen(danlu, "--run", run, "--size", "1m", "--adapter", "cpu", "--lang", "en", *settings)
    shown.shows(b"\x1b[?2026l", 20)
    time.sleep(5)
    from_frame = len(shown.frames)
    time.sleep(20)
    frames = sorted(shown.frames[from_frame:])
    mean = sum(frames) // max(1, len(frames))
    table.count("update", frames=len(frames), mean_bytes=mean, median_bytes=frames[len(frames) // 2] if frames else 0,
                largest_bytes=max(frames, default=0))
    shown.signal(signal.SIGTERM)
    shown.wait(30)
    table.verdict("update", run, ([f"{mean} bytes an update"] if not frames or mean > 1024 else []) + shown.left())
    shown.close()
    table.end(danlu)


main()
