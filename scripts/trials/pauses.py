"""Stops training with SIGSTOP for a while, and moves the clock back and forth: the bits must not change.

Only danlu's clock is changed, by libfaketime (Debian: `apt install faketime`); if that is missing, only SIGSTOP is
tried, and the last lines say so.

    python3 scripts/trials/pauses.py --danlu target/release/danlu --count 20
"""

import glob
import os
import signal
import subprocess
import time

import trials

STAGE, STEPS = "pretrain", 1500
SETTINGS = trials.QUIET + ["batch_size=2", "context=32", f"steps={STEPS}", "save_steps=200"]
PLACES = ["/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1", "/opt/homebrew/lib/faketime/libfaketimeMT.1.dylib"]


def main():
    args = trials.options(__doc__.splitlines()[0], 8, faketime=("", "libfaketimeMT.so.1, where it is not in its usual place"))
    danlu = trials.Danlu(args, "pauses")
    found = [args.faketime] if args.faketime else [path for place in PLACES for path in glob.glob(place)]
    base = danlu.folder("base")
    first = trials.train(base, STAGE, trials.TINY + SETTINGS, "--size", "1m", "--steps", "4")
    if danlu.run(first).code != 0:
        raise SystemExit("the base cannot be made")
    whole = danlu.folder("whole")
    trials.copy(base, whole)
    unbroken = danlu.run(trials.train(whole, STAGE, SETTINGS))
    if unbroken.code != 0:
        raise SystemExit(f"the base cannot be trained on: {unbroken}")
    wanted = (trials.bits(whole, STAGE, STEPS), trials.metrics(whole, STAGE))
    table = trials.Table("disturbance")
    kinds = ["stop"] + (["clock", "clock and monotonic"] if found else [])

    def trial(number):
        kind, rng = kinds[number % len(kinds)], trials.chance(args.seed, number)
        run, problems, env = danlu.folder("run"), [], {}
        trials.copy(base, run)
        clock = danlu.folder("clock")
        if kind != "stop":
            with open(clock, "w", encoding="ascii") as file:
                file.write("+0")
            env = {"LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_CACHE_DURATION": "1",
                   "DONT_FAKE_MONOTONIC": "0" if kind.endswith("monotonic") else "1"}
        with open(danlu.folder("err"), "w+b") as err:
            child = danlu.start(trials.train(run, STAGE, SETTINGS), subprocess.DEVNULL, err, env=env)
            until, times = time.time() + 60 + 20 * unbroken.seconds, 0
            while child.poll() is None and time.time() < until:
                time.sleep(rng.random() * unbroken.seconds / 3)
                if child.poll() is not None:
                    break
                times += 1
                if kind == "stop":
                    child.send_signal(signal.SIGSTOP)
                    time.sleep(0.1 + rng.random())
                    child.send_signal(signal.SIGCONT)
                else:
                    with open(clock, "w", encoding="ascii") as file:
                        file.write(rng.choice(["-3650d", "+3650d", "-1h", "+30", "+0"]))
            if child.poll() is None:
                trials.end(child)
                problems.append("it hangs")
            err.seek(0)
            said = err.read()[-300:].decode("utf8", "replace")
            os.unlink(err.name)
        if child.returncode != 0:
            problems.append(f"exit {child.returncode}: {said}")
        problems += trials.differs(run, STAGE, STEPS, *wanted)
        table.count(kind, times=times)
        table.verdict(kind, run, problems)

    trials.side_by_side(args.jobs, trial, [(n,) for n in range(args.count)])
    table.end(danlu, [] if found else ["clock jumps: libfaketime is not there (apt install faketime)"])


main()
