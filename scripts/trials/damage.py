"""Damages the newest checkpoint of a run, one file at a time, and checks that the damage is detected.

Eleven kinds of damage, for every file of the checkpoint in turn. `generate --run` must pass over it with a note and
answer as the previous checkpoint does; every sixteenth time training must continue from that one to the bits of an
undamaged run. A damaged file named by path (`generate --model`, `train --from`) must be refused with exit code 2.

    python3 scripts/trials/damage.py --danlu target/release/danlu --count 640 --jobs 2
"""

import os
import shutil

import trials

STAGE, STEPS, SAVES = "pretrain", 16, 4
SETTINGS = trials.QUIET + ["batch_size=2", "context=32", "learning_rate=1e-2", f"steps={STEPS}", f"save_steps={SAVES}"]
KINDS = ["flip", "flip", "cut", "extend", "zero", "swap", "older", "byte", "empty", "insert", "delete"]
# The files that are read from a folder named by path.
BY_PATH = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]


def changed(kind, data, older, rng):
    """The damaged bytes of a file; never equal to the original."""
    new, at = bytearray(data), rng.randrange(len(data))
    if kind == "flip":
        new[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del new[at:]
    elif kind == "extend":
        new += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5000)))
    elif kind == "zero":
        new[at:at + 4096] = bytes(len(new[at:at + 4096]))
    elif kind in ("older", "swap"):
        new = bytearray(older)
    elif kind == "byte":
        new[at] = (new[at] + 1 + rng.randrange(255)) % 256
    elif kind == "empty":
        new.clear()
    elif kind == "insert":
        new[at:at] = b"\0"
    elif kind == "delete":
        del new[at]
    if new == data:
        new[at] ^= 1
    return bytes(new)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    args = trials.options(__doc__.splitlines()[0], 88, by_path=(40, "damaged files named by path, beside those of --count"))
    danlu = trials.Danlu(args, "damage")
    base = danlu.folder("base")
    first = danlu.run(trials.train(base, STAGE, trials.TINY + SETTINGS, "--size", "1m", "--steps", str(STEPS - SAVES)))
    if first.code != 0:
        raise SystemExit(f"the base cannot be made: {first}")
    whole = danlu.folder("whole")
    trials.copy(base, whole)
    if danlu.run(trials.train(whole, STAGE, SETTINGS)).code != 0:
        raise SystemExit("the base cannot be trained on")
    wanted = (trials.bits(whole, STAGE, STEPS), trials.metrics(whole, STAGE))
    ask = ["--prompt", "春", "--max-new-tokens", "4", "--temperature", "0", "--json", "--adapter", "cpu"]
    newest, before = STEPS - SAVES, STEPS - 2 * SAVES
    without = danlu.folder("without")
    trials.copy(base, without)
    shutil.rmtree(trials.checkpoint(without, STAGE, newest))
    answer = danlu.run(["generate", "--run", without, *ask]).out
    files = sorted(os.listdir(trials.checkpoint(base, STAGE, newest)))
    table = trials.Table("damage")

    def damage(run, name, kind, rng):
        """Damages a file of the newest checkpoint of a run."""
        path = os.path.join(trials.checkpoint(run, STAGE, newest), name)
        other = name if kind == "older" else rng.choice([f for f in files if f != name])
        source = trials.checkpoint(run, STAGE, before if kind == "older" else newest)
        with open(path, "r+b") as file:
            new = changed(kind, file.read(), read(os.path.join(source, other)), rng)
            file.seek(0)
            file.write(new)
            file.truncate()

    def in_run(number):
        rng = trials.chance(args.seed, "run", number)
        name, kind = files[number % len(files)], rng.choice(KINDS)
        run, problems = danlu.folder("run"), []
        trials.copy(base, run)
        damage(run, name, kind, rng)
        result = danlu.run(["generate", "--run", run, *ask])
        if result.code != 0 or result.crashed:
            problems.append(f"generate fails: {result}")
        if f"{STAGE}-{newest:08d}".encode() not in result.err:
            problems.append("the damaged checkpoint is not named")
        if result.out != answer:
            problems.append("the answer is not that of the checkpoint before")
        row = f"{name} of a run"
        if number % 16 == 0:
            again = danlu.run(trials.train(run, STAGE, SETTINGS))
            begun = again.told("started").get("step")
            if again.code != 0 or begun != before:
                problems.append(f"training continues from step {begun} and not from {before}: {again}")
            else:
                # The damaged one lies beside the newly trained one, under the same step.
                steps = [name for name in trials.listed(run) if name.startswith(f"{STAGE}-{STEPS:08d}")]
                found = trials.differs(run, STAGE, STEPS, *wanted) if steps else ["the last step is not saved"]
                problems += found
            table.count(row, trained_on=1)
        table.verdict(row, f"{kind} ({run})", problems)
        if not problems:
            shutil.rmtree(run)

    def by_path(number):
        rng = trials.chance(args.seed, "path", number)
        name = BY_PATH[number % len(BY_PATH)]
        kind = rng.choice(KINDS)
        run, problems = danlu.folder("path"), []
        trials.copy(base, run)
        damage(run, name, kind, rng)
        folder = trials.checkpoint(run, STAGE, newest)
        verb = "--from" if number % 2 else "--model"
        if verb == "--model":
            result = danlu.run(["generate", "--model", folder, *ask])
        else:
            fresh = danlu.folder("from")
            result = danlu.run(trials.train(fresh, STAGE, SETTINGS, "--from", folder))
            shutil.rmtree(fresh, ignore_errors=True)
        if result.code != 2 or result.crashed:
            problems.append(f"it is not refused: {result}")
        elif name.encode() not in result.err and b"manifest" not in result.err:
            problems.append(f"the damaged file is not named: {result}")
        table.verdict(f"{name} by path", f"{kind} {verb} ({run})", problems)
        if not problems:
            shutil.rmtree(run)

    trials.side_by_side(args.jobs, in_run, [(n,) for n in range(args.count)])
    trials.side_by_side(args.jobs, by_path, [(n,) for n in range(args.by_path)])
    table.end(danlu)


main()
