"""Starts several trainings of one run at once, repeatedly: exactly one may own it.

All others must exit with code 3 and name the owner's process. Every other round the run does not exist yet and is
created by the first. The owner is then killed with kill -9, and the next launch must own the run at once.

    python3 scripts/trials/locks.py --danlu target/release/danlu --count 50 --processes 8
"""

import os
import signal
import subprocess
import time

import trials

ENDLESS = trials.QUIET + ["batch_size=2", "context=32", "steps=100000000", "save_steps=0"]


def main():
    args = trials.options(__doc__.splitlines()[0], 8, processes=(8, "processes of a round"),
                          patience=(60, "seconds until all but one must have ended"))
    danlu = trials.Danlu(args, "locks")
    table = trials.Table("run")

    def trial(number):
        run, problems = danlu.folder("run"), []
        there = number % 2 == 0
        new = [*trials.TINY, *ENDLESS]
        if there:
            made = danlu.run(trials.train(run, "pretrain", [*trials.TINY, *trials.QUIET, "batch_size=2", "context=32", "steps=2"], "--size", "1m"))
            if made.code != 0:
                raise SystemExit(f"the run cannot be made: {made}")
        children = []
        for _ in range(args.processes):
            err = open(danlu.folder("err"), "w+b")
            more = [] if there else ["--size", "1m"]
            child = danlu.start(trials.train(run, "pretrain", ENDLESS if there else new, *more), subprocess.DEVNULL, err)
            children.append((child, err, time.time()))
        took, until = {}, time.time() + args.patience
        while time.time() < until and len(took) < len(children) - 1:
            for child, _, begun in children:
                if child.pid not in took and child.poll() is not None:
                    took[child.pid] = time.time() - begun
            time.sleep(0.002)
        # The last one must hold the lock, not just be slower than the others.
        time.sleep(0.3)
        owners = [child for child, _, _ in children if child.poll() is None]
        if len(owners) != 1:
            problems.append(f"{len(owners)} processes own the run")
        for child, err, _ in children:
            if child in owners:
                continue
            err.seek(0)
            said = err.read().decode("utf8", "replace")
            if child.returncode != 3:
                problems.append(f"one is refused with exit {child.returncode}: {said[-200:]}")
            elif len(owners) == 1 and str(owners[0].pid) not in said:
                problems.append(f"the refusal does not name process {owners[0].pid}: {said[-200:]}")
        for owner in owners:
            trials.end(owner, signal.SIGKILL)
        for _, err, _ in children:
            err.close()
            os.unlink(err.name)
        settings = trials.QUIET + ["batch_size=2", "context=32", "save_steps=0"]
        # A run whose creation was killed may be empty.
        more = [] if os.path.isfile(os.path.join(run, "run.toml")) else [*trials.sets(trials.TINY), "--size", "1m"]
        after = danlu.run([*trials.train(run, "pretrain", settings, "--steps", "1"), *more])
        if after.code != 0:
            problems.append(f"after kill -9 of the owner it cannot be trained: {after}")
        table.count("there" if there else "made at once", refused=len(took), most_seconds_to_refuse=max(took.values(), default=0.0))
        table.verdict("there" if there else "made at once", run, problems)

    trials.side_by_side(args.jobs, trial, [(n,) for n in range(args.count)])
    table.end(danlu)


main()
