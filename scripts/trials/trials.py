"""Shared by all trials: runs of danlu from outside, tiny models, hashes, a table and a verdict.

A trial starts the binary as a user would, disturbs it, and checks the result. It knows only danlu's command line and
the files of a run. It needs Python 3 and its standard library.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# A model that trains a step in a millisecond: the store is under test, not the mathematics.
TINY = [
    "model.num_hidden_layers=1", "model.hidden_size=32", "model.num_attention_heads=2",
    "model.intermediate_size=64", "model.vocab_size=1500", "model.max_position_embeddings=128",
]
QUIET = ["eval_steps=0", "probe_steps=0", "warmup_steps=2"]
ALIGNED = ["eval_steps=0", "response_length=8", "learning_rate=1e-4", "guard.enabled=false"]

# For each stage: the stages before it, its length, steps between saves, and its settings.
STAGES = {
    "pretrain": ([], 400, 17, QUIET + ["batch_size=3", "context=32", "model.dropout=0.1", "learning_rate=3e-3"]),
    "sft": (["pretrain"], 120, 7, QUIET + ["batch_size=4", "learning_rate=1e-3"]),
    "reward": (["pretrain", "sft"], 40, 3, ["eval_steps=0", "batch_size=4", "learning_rate=1e-3"]),
    "ppo": (["pretrain", "sft", "reward"], 16, 2, ALIGNED + [
        "rollouts=8", "num_ppo_epochs=2", "num_mini_batches=2", "value_warmup_steps=2", "target_kl=0.5"]),
    "dpo": (["pretrain", "sft", "reward"], 24, 3, ALIGNED + ["batch_size=4"]),
    "grpo": (["pretrain", "sft", "reward"], 16, 2, ALIGNED + ["rollouts=8", "num_generations=4"]),
}
# How far the stages before are trained: just enough to exist.
BEFORE = {
    "pretrain": (20, QUIET + ["batch_size=3", "context=32"]),
    "sft": (20, QUIET + ["batch_size=4", "learning_rate=1e-2"]),
    "reward": (6, ["eval_steps=0", "batch_size=4"]),
}
# Fields of metrics.jsonl that depend on time.
TIMES = ("time", "step_ms", "tokens_per_second")


def options(about, count, **more):
    """The options of a runner. `more` has its own options: name = (default, help)."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--danlu", default="target/release/danlu", help="the binary")
    parser.add_argument("--count", type=int, default=count, help=f"trials (default {count}; 0 for all there are)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="trials at a time")
    parser.add_argument("--work", help="the folder to work in (default: a new one, removed at the end)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of failed trials")
    for name, (default, text) in more.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default,
                            help=f"{text} (default {default})")
    return parser.parse_args()


class Result:
    """The result of a run."""

    def __init__(self, code, out, err, seconds, peak, hung):
        self.code, self.out, self.err = code, out, err
        self.seconds, self.peak, self.hung = seconds, peak, hung

    @property
    def crashed(self):
        """A panic, an abort, or an unexpected signal."""
        return self.code in (101, 134) or (self.code < 0 and not self.hung) or b"panicked" in self.err

    def lines(self):
        """The JSON objects on stdout."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith(b"{")]

    def told(self, event):
        """The first event of that name."""
        return next((line for line in self.lines() if line.get("event") == event), {})

    def __str__(self):
        last = self.err.decode("utf8", "replace").strip()[-300:]
        return f"exit {self.code}{' (hung)' if self.hung else ''} after {self.seconds:.1f} s: {last}"


class Danlu:
    """The binary and a folder to work in."""

    def __init__(self, args, name):
        self.path = shutil.which(args.danlu) or args.danlu
        if not os.access(self.path, os.X_OK):
            sys.exit(f"{name}: {args.danlu} cannot be run; build it with cargo build --release, or name it with --danlu")
        self.path = os.path.abspath(self.path)
        self.kept = args.work is not None or args.keep
        self.work = os.path.abspath(args.work) if args.work else tempfile.mkdtemp(prefix=f"danlu-{name}-")
        os.makedirs(self.work, exist_ok=True)
        # Trials run in parallel; bits do not depend on the number of threads.
        self.env = dict(os.environ, RUST_BACKTRACE="0", LANG="en_US.UTF-8", RAYON_NUM_THREADS="1")
        self.numbers = iter(range(1 << 60))
        self.lock = threading.Lock()

    def folder(self, name):
        """A path for one trial, which does not exist yet."""
        with self.lock:
            path = os.path.join(self.work, f"{name}-{next(self.numbers)}")
        shutil.rmtree(path, ignore_errors=True)
        return path

    def start(self, argv, out, err, before=None, prefix=(), **more):
        """Starts danlu; `before` runs in the child."""
        return subprocess.Popen([*prefix, self.path, *argv], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                cwd=self.work, env=dict(self.env, **more.pop("env", {})), preexec_fn=before, **more)

    def run(self, argv, timeout=120, **more):
        """Runs danlu to its end."""
        base = self.folder("out")
        begun, hung = time.time(), False
        with open(base + ".out", "w+b") as out, open(base + ".err", "w+b") as err:
            child = self.start(argv, out, err, **more)
            timer = threading.Timer(timeout, child.kill)
            timer.start()
            # wait4 returns the peak of this child alone.
            _, status, used = os.wait4(child.pid, 0)
            hung = not timer.is_alive() and time.time() - begun >= timeout
            timer.cancel()
            child.returncode = os.waitstatus_to_exitcode(status) if hasattr(os, "waitstatus_to_exitcode") else (
                -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
            out.seek(0)
            err.seek(0)
            result = Result(child.returncode, out.read(), err.read(), time.time() - begun, used.ru_maxrss * 1024, hung)
        os.unlink(base + ".out")
        os.unlink(base + ".err")
        return result

    def done(self, failed):
        """Removes the folder, unless it is to be kept."""
        if not (self.kept or failed):
            shutil.rmtree(self.work, ignore_errors=True)


def sets(pairs):
    """--set arguments."""
    return [word for pair in pairs for word in ("--set", pair)]


def train(run, stage, settings, *more):
    """The command line of a stage."""
    return ["train", "--json", "--stage", stage, "--run", run, "--adapter", "cpu", *sets(settings), *more]


def of_stage(run, stage, *more):
    """The command line of a stage as STAGES has it."""
    before, steps, saves, settings = STAGES[stage]
    new = [] if before else TINY
    return train(run, stage, new + settings + [f"steps={steps}", f"save_steps={saves}"],
                 *([] if before else ["--size", "1m"]), *more)


def bases(danlu, stages):
    """Runs from which each stage starts, made once: stage to folder, None for the first."""
    made, there = {}, None
    os.makedirs(os.path.join(danlu.work, "bases"), exist_ok=True)
    wanted = {tuple(STAGES[stage][0]) for stage in stages}
    for length in range(4):
        line = tuple(["pretrain", "sft", "reward"][:length])
        if not any(len(want) >= length for want in wanted):
            break
        if length:
            stage = line[-1]
            run = os.path.join(danlu.work, "bases", stage)
            if not os.path.isdir(run):
                if there:
                    copy(there, run)
                steps, settings = BEFORE[stage]
                result = danlu.run(train(run, stage, (TINY if length == 1 else []) + settings + [f"steps={steps}"],
                                         *(["--size", "1m"] if length == 1 else [])), timeout=600)
                if result.code != 0:
                    sys.exit(f"the base of {stage} cannot be made: {result}")
            there = run
        made[line] = there
    # The model's own answers, sampled with the reward model, so that later runs need not sample them again.
    own = os.path.join(danlu.work, "bases", "reward", "data", "reward-own.jsonl")
    tuned = made.get(("pretrain", "sft"))
    if tuned and os.path.isfile(own):
        shutil.copy(own, os.path.join(tuned, "data", "reward-own.jsonl"))
    return {stage: made[tuple(STAGES[stage][0])] for stage in stages}


def copy(source, target):
    """Copies a run."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def prepare(base, run):
    """A run to start with."""
    shutil.rmtree(run, ignore_errors=True)
    if base:
        copy(base, run)


def checkpoint(run, stage, step):
    """The folder of a checkpoint."""
    return os.path.join(run, "checkpoints", f"{stage}-{step:08d}")


def listed(run):
    """The names in a run's checkpoints."""
    try:
        return sorted(os.listdir(os.path.join(run, "checkpoints")))
    except FileNotFoundError:
        return []


def hidden(run):
    """Half-written and half-removed checkpoints."""
    return [name for name in listed(run) if name.startswith(".")]


def sha(path):
    """A file's hash."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def bits(run, stage, step):
    """The hashes of a checkpoint's weights, optimizer and value net; None if it does not exist."""
    folder = checkpoint(run, stage, step)
    if not os.path.isdir(folder):
        return None
    names = ["model.safetensors", "optimizer.safetensors", "value/model.safetensors", "value/optimizer.safetensors"]
    return {name: sha(os.path.join(folder, name)) for name in names if os.path.isfile(os.path.join(folder, name))}


def metrics(run, stage):
    """A stage's lines of metrics.jsonl without fields that depend on time."""
    kept = []
    try:
        with open(os.path.join(run, "metrics.jsonl"), "rb") as file:
            for line in file:
                fields = json.loads(line)
                if fields.get("stage") == stage:
                    kept.append({key: value for key, value in fields.items() if key not in TIMES})
    except FileNotFoundError:
        pass
    return kept


def differs(run, stage, step, bits_wanted, metrics_wanted):
    """How a finished stage differs from an uninterrupted one; empty if it does not."""
    found = []
    got = bits(run, stage, step)
    if got is None:
        return [f"{stage}-{step:08d} is not there: {', '.join(listed(run)) or 'no checkpoint'}"]
    found += [f"{name} differs" for name in bits_wanted if got.get(name) != bits_wanted[name]]
    lines = metrics(run, stage)
    if lines != metrics_wanted:
        at = next((i for i, (a, b) in enumerate(zip(lines, metrics_wanted)) if a != b), min(len(lines), len(metrics_wanted)))
        found.append(f"metrics.jsonl differs at line {at + 1} of {len(metrics_wanted)} (it has {len(lines)})")
    found += [f"{name} is left over" for name in hidden(run)]
    return found


class Table:
    """Counts by row, failures with reasons, and the verdict."""

    def __init__(self, head):
        self.head, self.rows, self.failures, self.passed = head, {}, [], 0
        self.lock = threading.Lock()

    def count(self, row, **numbers):
        """Adds to a row; a number whose name begins with most_ is a maximum."""
        with self.lock:
            there = self.rows.setdefault(row, {})
            for name, number in numbers.items():
                there[name] = max(there.get(name, number), number) if name.startswith("most_") else there.get(name, 0) + number

    def verdict(self, row, what, problems):
        """Records the end of a trial."""
        with self.lock:
            there = self.rows.setdefault(row, {})
            there["trials"] = there.get("trials", 0) + 1
            there["failed"] = there.get("failed", 0) + bool(problems)
            self.passed += not problems
            if problems:
                self.failures.append(f"{row} {what}: {'; '.join(problems)}")
                print(f"FAILED {self.failures[-1]}", file=sys.stderr, flush=True)

    def end(self, danlu, skipped=()):
        """Prints everything and exits with 1 after any failure."""
        columns = sorted({name for row in self.rows.values() for name in row}, key=lambda n: (n == "failed", n != "trials", n))
        lines = [[self.head, *(c.replace("_", " ") for c in columns)]]
        for row, numbers in self.rows.items():
            cells = [numbers.get(c, 0) for c in columns]
            shown = lambda c: str(c) if not isinstance(c, float) else f"{c:.3f}" if c >= 1e-3 or c == 0 else f"{c:.1e}"
            lines.append([str(row), *map(shown, cells)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        for line in lines:
            print("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))))
        for what in skipped:
            print(f"skipped: {what}")
        danlu.done(bool(self.failures))
        if self.failures:
            print(f"what failed is in {danlu.work}", file=sys.stderr)
        print(f"{self.passed} passed, {len(self.failures)} failed")
        sys.exit(1 if self.failures or not self.passed else 0)


def side_by_side(jobs, trial, all_trials):
    """Runs `trial(*each)` for all, several at a time; exceptions of the harness are not hidden."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(trial, *each) for each in all_trials]
        for future in concurrent.futures.as_completed(waiting):
            future.result()


def chance(seed, *place):
    """A random number generator for one purpose: a trial is the same whatever runs in parallel."""
    return random.Random(repr((seed, *place)))


def end(child, how=signal.SIGKILL):
    """Ends a child that may have ended already."""
    try:
        child.send_signal(how)
    except ProcessLookupError:
        pass
    return child.wait()
