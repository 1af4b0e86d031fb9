"""Makes one system call fail, the Kth of its kind, and checks that no work is lost and no error is hidden.

strace injects the errors. Over `train` every K of twenty pairs of call and error is tried: the old checkpoint must
survive, a failure must be reported with a documented exit code, and the next launch must reach the bits of a run
without the fault. Over `data` and `recipe` some are tried. In the workbench, on a pseudo-terminal, the stage must
pause, continue after `w` or space, and lose no step.

    python3 scripts/trials/faults.py --danlu target/release/danlu --count 0 --jobs 2
"""

import json
import os
import re
import shutil
import signal
import sys
import time

import trials
from screen import Screen

PAIRS = [
    ("write", "ENOSPC"), ("write", "EIO"), ("fsync", "EIO"), ("fsync", "ENOSPC"), ("renameat2", "EIO"),
    ("renameat2", "ENOSPC"), ("rename", "EIO"), ("mkdir", "ENOSPC"), ("openat", "EMFILE"), ("openat", "EACCES"),
    ("ftruncate", "EIO"), ("unlink", "EIO"), ("rmdir", "EIO"), ("unlinkat", "EIO"), ("statfs", "EIO"),
    ("getdents64", "EIO"), ("read", "EIO"), ("statx", "EIO"), ("flock", "EIO"), ("clone3", "EAGAIN"),
]
# In the workbench: the store's own calls. Without a working terminal there is no screen.
ON_SCREEN = [("write", "ENOSPC"), ("fsync", "EIO"), ("fsync", "ENOSPC"), ("renameat2", "EIO"), ("renameat2", "ENOSPC"),
             ("mkdir", "ENOSPC"), ("ftruncate", "EIO"), ("unlink", "EIO"), ("rmdir", "EIO"), ("unlinkat", "EIO")]
CODES = (0, 1, 2, 3, 4)
# Three saves before the fault and three after it, each of which removes an old one.
STAGE, BEGUN, STEPS, SAVES = "pretrain", 6, 12, 2
SETTINGS = trials.QUIET + ["batch_size=2", "context=32", "learning_rate=3e-3", f"steps={STEPS}", f"save_steps={SAVES}"]
SCREEN_STEPS = 400
# Keys pressed without effect before the fault is ended.
MENDED_AFTER = 4
POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。\n"


def strace(log, calls, inject=None):
    """The prefix of danlu's command line; without an error to inject, calls are only counted."""
    how = ["-e", f"inject={calls}:error={inject[0]}:when={inject[1]}"] if inject else []
    return ["strace", "-f", "-qq", "-o", log, "-e", f"trace={calls}", *how]


def counted(log):
    """Calls by name, of the thread that made the most: strace counts K per thread."""
    threads, most = {}, {}
    with open(log, errors="replace") as file:
        for line in file:
            # 1234 write(5, ...; a call interrupted by another thread's is resumed later.
            thread, _, rest = line.partition(" ")
            name, bracket, _ = rest.lstrip().partition("(")
            if bracket and name.isidentifier():
                threads[thread, name] = threads.get((thread, name), 0) + 1
    for (_, name), n in threads.items():
        most[name] = max(most.get(name, 0), n)
    return most


def injected(log):
    """Whether the error was injected."""
    with open(log, errors="replace") as file:
        return "(INJECTED)" in file.read()


def muted(log):
    """Whether the failed call was a write to stderr, the error message itself."""
    with open(log, errors="replace") as file:
        return any("(INJECTED)" in line and " write(2, " in line for line in file)


def judged(result, hit, mute):
    """What is wrong with the end of a run in which a call failed."""
    loader = result.code == 127 and b"loading shared libraries" in result.err
    problems = []
    if result.hung:
        problems.append("it hangs")
    elif result.crashed:
        problems.append(f"it crashes: {result}")
    elif result.code not in CODES and not loader:
        problems.append(f"its exit code is no code of the list: {result}")
    if result.code not in (0, 127) and not result.err.strip() and not mute:
        problems.append(f"it fails without a word: exit {result.code}")
    if not hit:
        return []
    return problems


class Tried:
    """A verb under test: its preparation, its command line, and the check after the next launch."""

    def __init__(self, danlu, name):
        self.danlu, self.name = danlu, name
        self.base = danlu.folder("base-" + name)
        getattr(self, "make_" + name)()

    def argv(self, run):
        """The command line."""
        if self.name == "train":
            return trials.train(run, STAGE, SETTINGS)
        if self.name == "data":
            return ["data", "--json", "--run", run, "--adapter", "cpu"]
        return ["recipe", "--json", "--run", run, "--adapter", "cpu"]

    def make_train(self):
        first = trials.train(self.base, STAGE, trials.TINY + SETTINGS, "--size", "1m", "--steps", str(BEGUN))
        self.must(self.danlu.run(first))
        run = self.danlu.folder("whole")
        trials.copy(self.base, run)
        self.must(self.danlu.run(self.argv(run)))
        self.bits, self.metrics = trials.bits(run, STAGE, STEPS), trials.metrics(run, STAGE)
        self.old = trials.bits(self.base, STAGE, BEGUN)

    def make_data(self):
        self.plain({"poems": 400})
        run = self.danlu.folder("whole")
        trials.copy(self.base, run)
        whole = self.danlu.run(self.argv(run))
        self.must(whole)
        self.funnel = {k: v for k, v in whole.told("funnel").items() if k not in ("seconds", "time")}

    def make_recipe(self):
        self.plain(None)
        run = self.danlu.folder("whole")
        trials.copy(self.base, run)
        self.must(self.danlu.run(self.argv(run), timeout=600))
        self.ends = {name: trials.sha(os.path.join(run, "checkpoints", name, "model.safetensors"))
                     for name in trials.listed(run)}

    def plain(self, poems):
        """A folder that holds only run.toml (and texts)."""
        os.makedirs(self.base)
        text = 'size = "1m"\n'
        if poems:
            with open(os.path.join(self.base, "poems.txt"), "w", encoding="utf8") as file:
                for i in range(poems["poems"]):
                    file.write(f"第{i}首。" + POEM + "\n")
            text += '[[source]]\nname = "poems"\npath = "poems.txt"\n'
        text += "[model]\n" + "".join(f"{s[len('model.'):]}\n" for s in trials.TINY)
        if not poems:
            common = "eval_steps = 0\n"
            text += f"[pretrain]\nsteps = 6\nbatch_size = 2\ncontext = 32\nprobe_steps = 0\n{common}"
            text += f"[sft]\nsteps = 6\nbatch_size = 2\nprobe_steps = 0\n{common}"
            text += f"[reward]\nsteps = 2\nbatch_size = 2\n{common}"
            text += f"[ppo]\nsteps = 2\nrollouts = 4\nresponse_length = 4\nnum_mini_batches = 1\n{common}"
            text += "[guard]\nenabled = false\n"
            # Its own pairs: without them the model would first answer hundreds of prompts.
            text += '[[reward.source]]\nname = "pairs"\npath = "pairs.jsonl"\n'
            with open(os.path.join(self.base, "pairs.jsonl"), "w", encoding="utf8") as file:
                for i in range(60):
                    pair = {"prompt": f"第{i}个问题", "chosen": f"好的回答{i}。", "rejected": f"不好{i}"}
                    file.write(json.dumps(pair, ensure_ascii=False) + "\n")
        with open(os.path.join(self.base, "run.toml"), "w", encoding="utf8") as file:
            file.write(text)

    def must(self, result):
        """The verb without a fault."""
        if result.code != 0:
            sys.exit(f"{self.name} does not even end without a fault: {result}")

    def most(self, calls):
        """The number of calls that can fail, by name."""
        run, log = self.danlu.folder(self.name), self.danlu.folder("strace")
        trials.copy(self.base, run)
        self.danlu.run(self.argv(run), timeout=600, prefix=strace(log, calls))
        shutil.rmtree(run)
        return counted(log)

    def trial(self, table, call, error, k):
        """One fault, and the launch after it."""
        run, log = self.danlu.folder(self.name), self.danlu.folder("strace")
        trials.copy(self.base, run)
        result = self.danlu.run(self.argv(run), timeout=300, prefix=strace(log, call, (error, k)))
        hit = injected(log)
        problems = judged(result, hit, muted(log))
        row = f"{self.name}: {call} {error}"
        if self.name == "train":
            there = trials.bits(run, STAGE, BEGUN)
            if there != self.old and (there or not trials.bits(run, STAGE, STEPS)):
                problems.append("the old checkpoint has changed, or is gone before the last is there")
            if result.code == 0 and trials.bits(run, STAGE, STEPS) != self.bits:
                problems.append(f"it says that all is done, and {STAGE}-{STEPS:08d} is not there or differs")
        again = self.danlu.run(self.argv(run), timeout=600)
        if again.code != 0:
            problems.append(f"it does not go on: {again}")
        elif self.name == "train":
            problems += trials.differs(run, STAGE, STEPS, self.bits, self.metrics)
        elif self.name == "data":
            funnel = {k: v for k, v in again.told("funnel").items() if k not in ("seconds", "time")}
            if funnel != self.funnel:
                problems.append(f"the funnel is {funnel} and was {self.funnel}")
        else:
            for name, sha in self.ends.items():
                path = os.path.join(run, "checkpoints", name, "model.safetensors")
                if not os.path.isfile(path) or trials.sha(path) != sha:
                    problems.append(f"{name} is not there or differs")
        table.count(row, put_in=int(hit), failed_and_said=int(hit and result.code != 0))
        table.verdict(row, f"K = {k} ({run})", problems)
        os.unlink(log)
        if not problems:
            shutil.rmtree(run)


class OnScreen:
    """The workbench with faults."""

    def __init__(self, danlu):
        self.danlu = danlu
        # A save every 60 steps: several while it runs.
        self.settings = trials.QUIET + ["batch_size=2", "context=32", f"steps={SCREEN_STEPS}", "save_steps=60"]
        self.base = danlu.folder("base-screen")
        first = trials.train(self.base, STAGE, trials.TINY + self.settings, "--size", "1m", "--steps", "60")
        self.must(danlu.run(first))
        run = danlu.folder("whole")
        trials.copy(self.base, run)
        self.must(danlu.run(trials.train(run, STAGE, self.settings)))
        self.bits, self.metrics = trials.bits(run, STAGE, SCREEN_STEPS), trials.metrics(run, STAGE)

    def must(self, result):
        if result.code != 0:
            sys.exit(f"the screen's base cannot be made: {result}")

    def argv(self, run):
        """The workbench's command line."""
        return [self.danlu.path, "--run", run, "--adapter", "cpu", "--lang", "en",
                *trials.sets([f"{STAGE}.{s}" for s in self.settings])]

    def steps(self, run):
        """The newest step that was logged."""
        lines = trials.metrics(run, STAGE) if os.path.exists(os.path.join(run, "metrics.jsonl")) else []
        return lines[-1]["step"] if lines else 0

    def most(self, calls):
        """The number of calls that can fail, by name."""
        run, log = self.danlu.folder("screen"), self.danlu.folder("strace")
        trials.copy(self.base, run)
        screen = Screen(strace(log, calls) + self.argv(run), self.danlu.env, self.danlu.work)
        until = time.time() + 90
        while time.time() < until and not trials.bits(run, STAGE, SCREEN_STEPS):
            time.sleep(0.1)
        screen.press(b"q")
        screen.wait(5)
        end_of(screen, self.danlu.path, run)
        return counted(log)

    def trial(self, table, call, error, k):
        """One fault; `w` and space alternately until the stage is done."""
        run, log = self.danlu.folder("screen"), self.danlu.folder("strace")
        trials.copy(self.base, run)
        row, problems = f"screen: {call} {error}", []
        # Outside the terminal's session (-DDD), so that the tracer can be ended without its tracee.
        screen = Screen(strace(log, call, (error, k)) + ["-DDD"] + self.argv(run), self.danlu.env, self.danlu.work)
        until, newest, still, keys = time.time() + 120, 0, time.time(), 0
        while time.time() < until and not trials.bits(run, STAGE, SCREEN_STEPS) and not screen.ended():
            time.sleep(0.1)
            try:
                step = self.steps(run)
            except ValueError:
                # A line in the middle of being written.
                continue
            if step < newest:
                problems.append(f"steps {step + 1} to {newest} are lost")
                newest = step
            if step > newest:
                newest, still = step, time.time()
            if time.time() - still > 1.5:
                # It is paused: save again, and if that does not help, continue.
                if keys == MENDED_AFTER:
                    # strace counts K per thread, and every save has a new thread: such a fault persists
                    # until the tracer is ended.
                    mend(log)
                screen.press([b"w", b" "][keys % 2])
                keys, still = keys + 1, time.time()
        shown = re.sub(rb"\x1b\[[0-9;?]*[ -/]*[@-~]", b" ", bytes(screen.bytes[-20000:])).decode("utf8", "replace")
        hit = os.path.exists(log) and injected(log)
        if screen.ended():
            # A workbench that cannot start reports it and exits; nothing is lost.
            if screen.code not in CODES:
                problems.append(f"it ends with {screen.code}")
            again = self.danlu.run(trials.train(run, STAGE, self.settings))
            if again.code != 0:
                problems.append(f"it does not go on: {again}")
        elif not trials.bits(run, STAGE, SCREEN_STEPS):
            problems.append(f"it is at step {newest} of {SCREEN_STEPS}: {' '.join(shown.split())[-400:]}")
        else:
            screen.press(b"q")
            if screen.wait(10):
                problems += screen.left()
        end_of(screen, self.danlu.path, run)
        mend(log)
        # Leftovers of the last removal are swept when the run is opened again.
        again = self.danlu.run(trials.train(run, STAGE, self.settings))
        if again.code != 0:
            problems.append(f"it does not open again: {again}")
        if not problems:
            problems += trials.differs(run, STAGE, SCREEN_STEPS, self.bits, self.metrics)
        table.count(row, put_in=int(hit), keys_pressed=keys)
        table.verdict(row, f"K = {k} ({run})", problems if hit else [])
        os.unlink(log)
        if not problems:
            shutil.rmtree(run, ignore_errors=True)


def mend(log):
    """Ends the tracer that writes this log: from now on no call fails."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if words[0].endswith(b"strace") and log.encode() in words:
                os.kill(int(pid), signal.SIGKILL)
        except (OSError, IndexError):
            pass


def end_of(screen, path, run):
    """Ends strace and its danlu, which is identified by the run in its command line."""
    screen.close()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if words[0] == path.encode() and run.encode() in words:
                os.kill(int(pid), signal.SIGKILL)
        except (OSError, IndexError):
            pass


def main():
    args = trials.options(__doc__.splitlines()[0], 40, verbs=("train,data,recipe,screen", "what is tried"),
                          some=(24, "faults over data and over recipe, and over the screen twice as many; 0 for all"))
    if not shutil.which("strace"):
        sys.exit("faults: strace is not installed, and no fault can be put in without it")
    danlu = trials.Danlu(args, "faults")
    table = trials.Table("verb, call and error")
    everything = []
    for verb in args.verbs.split(","):
        tried = OnScreen(danlu) if verb == "screen" else Tried(danlu, verb)
        pairs = ON_SCREEN if verb == "screen" else PAIRS
        most = tried.most(",".join(dict(pairs)))
        counts = {call: most.get(call, 0) for call in dict(pairs)}
        # One K past the last, which must change nothing.
        all_of = [(call, error, k) for call, error in pairs for k in range(1, counts[call] + 2)]
        some = {"train": args.count, "screen": 2 * args.some}.get(verb, args.some)
        if 0 < some < len(all_of):
            rng = trials.chance(args.seed, verb)
            # Some of every pair, then random ones.
            rng.shuffle(all_of)
            first = {}
            for place in all_of:
                first.setdefault(place[:2], place)
            rest = [place for place in all_of if place not in first.values()]
            all_of = (list(first.values()) + rest)[:some]
        print(f"{verb}: {len(all_of)} faults; calls of a thread: {counts}", file=sys.stderr, flush=True)
        everything += [(tried, table, *place) for place in all_of]
    trials.side_by_side(args.jobs, lambda tried, *rest: tried.trial(*rest), everything)
    table.end(danlu)


main()
