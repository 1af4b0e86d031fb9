"""Kills training with kill -9 and checks that nothing is lost.

Each run of a stage is killed repeatedly, at random moments and inside saves, and started again with the same command
until it ends. Then weights, optimizer, value net and metrics must equal those of an uninterrupted run.

    python3 scripts/trials/kills.py --danlu target/release/danlu --count 1000 --seed 7 --jobs 2
"""

import os
import subprocess
import threading
import time

import trials


def killed_once(danlu, run, stage, rng, inside, length):
    """Starts the stage and kills it; returns whether it was killed, its exit code and its output."""
    errors = danlu.folder("err")
    with open(errors, "w+b") as err:
        child = danlu.start(trials.of_stage(run, stage), subprocess.DEVNULL, err)
        begun, wait = time.time(), rng.random() * length
        while child.poll() is None:
            if time.time() - begun < wait:
                time.sleep(0.001)
            elif inside and not trials.hidden(run) and time.time() - begun < wait + 2 * length:
                # Wait for a save to begin.
                time.sleep(0.0002)
            else:
                if inside:
                    time.sleep(rng.random() * 0.004)
                break
        trials.end(child)
        err.seek(0)
        said = err.read()
    os.unlink(errors)
    return child.returncode == -9, child.returncode, said


def main():
    args = trials.options(__doc__.splitlines()[0], 60, per_run=(12, "kills of one run at most"),
                          stages=(",".join(trials.STAGES), "stages to be killed"))
    danlu = trials.Danlu(args, "kills")
    stages = args.stages.split(",")
    bases = trials.bases(danlu, stages)
    wanted, lengths = {}, {}
    for stage in stages:
        run, steps = danlu.folder("whole"), trials.STAGES[stage][1]
        trials.prepare(bases[stage], run)
        whole = danlu.run(trials.of_stage(run, stage), timeout=900)
        if whole.code != 0:
            raise SystemExit(f"{stage} does not even end undisturbed: {whole}")
        wanted[stage] = (trials.bits(run, stage, steps), trials.metrics(run, stage))
        lengths[stage] = whole.seconds
    table = trials.Table("stage")
    left, lock = [args.count], threading.Lock()

    def trial(number):
        stage = stages[number % len(stages)]
        rng = trials.chance(args.seed, stage, number)
        with lock:
            kills = min(args.per_run, left[0])
            left[0] -= kills
        if not kills:
            return False
        run, problems, done, inside = danlu.folder(stage), [], 0, 0
        trials.prepare(bases[stage], run)
        while True:
            if done < kills:
                # A run that ends before it is killed starts over, so that the requested number of kills is reached.
                killed, code, said = killed_once(danlu, run, stage, rng, rng.random() < 0.5, lengths[stage])
                if killed:
                    done += 1
                    inside += bool(trials.hidden(run))
                    continue
                if code == 0:
                    problems += trials.differs(run, stage, trials.STAGES[stage][1], *wanted[stage])
                    if problems:
                        break
                    trials.prepare(bases[stage], run)
                    continue
                problems.append(f"after {done} kills it does not go on: exit {code}: {said[-300:].decode('utf8', 'replace')}")
                break
            last = danlu.run(trials.of_stage(run, stage), timeout=900)
            if last.code != 0:
                problems.append(f"after {done} kills it does not go on: {last}")
            else:
                problems += trials.differs(run, stage, trials.STAGES[stage][1], *wanted[stage])
            break
        table.count(stage, kills=done, inside_a_save=inside)
        table.verdict(stage, run, problems)
        print(f"{stage}: {done} kills, {inside} inside a save; {left[0]} to come", flush=True)
        if not problems:
            trials.prepare(None, run)
        return True

    def worker(first):
        number = first
        while trial(number):
            number += args.jobs

    trials.side_by_side(args.jobs, worker, [(first,) for first in range(args.jobs)])
    table.end(danlu)


main()
