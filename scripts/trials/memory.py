"""Compares the memory that danlu reports with the peak it uses, and runs it with little memory.

Every stage at several sizes, with saves and resumes: `host_memory_bytes` of the `started` event must equal the peak
of the process within five percent. Then training under limits on address space (`ulimit -v`) and on data
(`ulimit -d`), from almost nothing up: it must train, or refuse with exit code 4, and never be killed or abort.

    python3 scripts/trials/memory.py --danlu target/release/danlu --jobs 2
"""

import resource
import shutil

import trials

WITHIN = 0.05
FEW = ["steps=3", "save_steps=2"]
EVERYTHING = ["eval_steps=2", "probe_steps=2"]
SIZES = {
    "tiny": ("1m", trials.TINY, ["batch_size=3", "context=32"]),
    "1m": ("1m", [], []),
    "5m": ("5m", [], []),
    "12m": ("12m", [], ["batch_size=4"]),
    "27m": ("27m", [], ["batch_size=2", "context=256"]),
    "124m": ("124m", [], ["batch_size=1", "context=128"]),
}
LINE = ["pretrain", "sft", "reward", "ppo", "dpo", "grpo"]


def main():
    args = trials.options(__doc__.splitlines()[0], 0, sizes=("tiny,1m,5m", "sizes whose stages are all trained"),
                          pretrained=("12m", "sizes that are pretrained only"),
                          limits=("40,60,80,100,120,150,200,250,300,400,600,1000,2000,4000", "MiB of address space"))
    danlu = trials.Danlu(args, "memory")
    # As users run it: on all cores.
    danlu.env.pop("RAYON_NUM_THREADS")
    table = trials.Table("run")

    def compared(name, argv, more=()):
        """One run: reported and used memory."""
        result = danlu.run(argv, timeout=1800)
        told, problems = result.told("started").get("host_memory_bytes"), []
        if result.code != 0 or not told:
            problems.append(f"it does not train: {result}")
        else:
            ratio = result.peak / told
            table.count(name, most_told_MiB=round(told / 2**20, 1), most_peak_MiB=round(result.peak / 2**20, 1), most_ratio=round(ratio, 3))
            if abs(ratio - 1) > WITHIN:
                problems.append(f"the peak is {ratio:.3f} of the reported figure ({told} bytes)")
        table.verdict(name, " ".join(more), problems)
        return not problems or result.code == 0

    def line(size, stages):
        preset, model, first = SIZES[size]
        run = danlu.folder(size)
        for stage in stages:
            settings = FEW + (["rollouts=16", "response_length=16", "guard.enabled=false"] if stage in ("ppo", "grpo") else [])
            settings += ["eval_steps=2"] if stage in ("reward", "ppo", "dpo", "grpo") else EVERYTHING
            settings += ["guard.enabled=false"] if stage == "dpo" else []
            new = [*trials.sets(model), "--size", preset] if stage == "pretrain" else []
            settings += first if stage == "pretrain" or (stage == "sft" and size not in ("1m", "5m")) else []
            if not compared(f"{size} {stage}", [*trials.train(run, stage, settings), *new]):
                return
            if stage in ("pretrain", "ppo"):
                compared(f"{size} {stage}, resumed", trials.train(run, stage, settings, "--steps", "2"))
        shutil.rmtree(run, ignore_errors=True)

    def limited(kind, mib):
        """Training of a 1m and of a 5m model under a limit."""
        limit = resource.RLIMIT_AS if kind == "v" else resource.RLIMIT_DATA

        def before():
            resource.setrlimit(limit, (mib << 20, mib << 20))

        for size in ("1m", "5m"):
            run = danlu.folder("limited")
            result = danlu.run(trials.train(run, "pretrain", trials.QUIET + ["steps=2", "save_steps=1"], "--size", size), timeout=600, before=before)
            problems, row = [], f"{size} under ulimit -{kind}"
            if result.code not in (0, 4) or result.crashed or result.hung:
                problems.append(f"{mib} MiB: {result}")
            elif result.code == 4 and b"bytes" not in result.err:
                problems.append(f"{mib} MiB: the refusal has no bytes: {result}")
            table.count(row, refused=int(result.code == 4), trained=int(result.code == 0))
            table.verdict(row, f"{mib} MiB", problems)
            shutil.rmtree(run, ignore_errors=True)

    for size in filter(None, args.sizes.split(",")):
        line(size, LINE)
    for size in filter(None, args.pretrained.split(",")):
        line(size, ["pretrain"])
    amounts = [int(mib) for mib in filter(None, args.limits.split(","))]
    trials.side_by_side(args.jobs, limited, [(kind, mib) for kind in ("v", "d") for mib in amounts])
    table.end(danlu)


main()
