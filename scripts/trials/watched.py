"""What the screen costs: the time of a training step under `danlu train` and under the workbench, in turn.

    python3 scripts/trials/watched.py --danlu target/release/danlu --adapter nvidia --size 1m --steps 4000 --count 7

Evaluations, probes and saves are off. A step's time is that between the logged steps after the first quarter. Where the
engine fills all cores, times vary by several per cent: more rounds, and nothing else started.
"""

import json
import os
import signal
import statistics
import time

import trials
from screen import Screen


def steps(run):
    """The step and time of every line of the log."""
    try:
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf8") as file:
            lines = file.read().split("\n")[:-1]
    except OSError:
        return []
    return [(line["step"], line["time"]) for line in map(json.loads, lines)]


def step_ms(logged, last):
    """Milliseconds of a step after the first quarter."""
    kept = [(step, at) for step, at in logged if last / 4 <= step <= last]
    return (kept[-1][1] - kept[0][1]) * 1e3 / (kept[-1][0] - kept[0][0])


def main():
    args = trials.options(__doc__.splitlines()[0], 5, adapter=("cpu", "the engine"), size=("1m", "of the model"),
                          steps=(300, "of a run"), rows=(36, "of the terminal"), columns=(120, "of the terminal"))
    danlu = trials.Danlu(args, "watched")
    # All cores, unlike the trials that run beside each other.
    env = {name: value for name, value in danlu.env.items() if name != "RAYON_NUM_THREADS"}
    table = trials.Table("what")
    settings = trials.sets([f"pretrain.{s}" for s in [f"steps={args.steps}", "eval_steps=0", "probe_steps=0", "save_steps=0"]])
    took = {"headless": [], "screen": []}
    for turn in range(2 * args.count):
        what = ["headless", "screen"][(turn + turn // 2) % 2]
        run = danlu.folder(f"{what}-{turn}")
        common = ["--run", run, "--size", args.size, "--adapter", args.adapter, *settings]
        command = ["train", "--stage", "pretrain", "--json", *common] if what == "headless" else ["--lang", "en", *common]
        shown = Screen([danlu.path, *command], env, danlu.work, args.rows, args.columns)
        until = time.time() + 600
        while time.time() < until and not shown.ended() and max((s for s, _ in steps(run)), default=0) < args.steps:
            time.sleep(1)
        logged = steps(run)
        shown.signal(signal.SIGTERM)
        shown.wait(30)
        shown.close()
        if max((s for s, _ in logged), default=0) < args.steps:
            table.verdict(what, run, ["it did not reach its last step"])
            return table.end(danlu)
        took[what].append(step_ms(logged, args.steps))
    for what, all_ms in took.items():
        table.count(what, ms_a_step=round(statistics.median(all_ms), 4), fastest=round(min(all_ms), 4), slowest=round(max(all_ms), 4))
        table.verdict(what, danlu.work, [])
    ratios = [screen / headless for headless, screen in zip(took["headless"], took["screen"])]
    table.count("screen", cost_percent=round(100 * (statistics.median(ratios) - 1), 2))
    table.end(danlu)


main()
