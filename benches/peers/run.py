"""danlu and its peers on one machine, in turn, and one table of medians.

    python3 benches/peers/run.py [--danlu target/release/danlu] [--rounds 3] [--shapes 1m,12m,124m]
                                 [--modes fp32,bf16,bf16-compile] [--precisions f32,f16] [--check] [--out FILE]
                                 [--burn PATH [--burn-modes f32,f16]]

Every round runs each program once on each shape, so that a card that grows warm or is shared is the
same for all. `--burn` names the program of benches/peers/burn (`cargo build --release` there).
`--check` first runs `danlu check` in every precision and stops where it fails; a run whose loss is not
a number counts as failed. A program that fails is named in the table with its last line.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SHAPES = {
    "1m": dict(layers=4, hidden=128, heads=4, ffn=384, ctx=128, vocab=4096, batch=32, steps=200),
    "12m": dict(layers=6, hidden=384, heads=6, ffn=1024, ctx=256, vocab=4096, batch=64, steps=60),
    "124m": dict(layers=12, hidden=768, heads=12, ffn=2048, ctx=1024, vocab=50304, batch=16, steps=20),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--danlu", default=str(ROOT / "target/release/danlu"))
    parser.add_argument("--adapter", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", default="1m,12m,124m")
    parser.add_argument("--modes", default="fp32,bf16,bf16-compile", help="of torch_step.py; empty for none")
    parser.add_argument("--burn", help="the program built in benches/peers/burn")
    parser.add_argument("--burn-modes", default="f32,f16")
    parser.add_argument("--precisions", default="f32,f16", help="of danlu")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one program")
    parser.add_argument("--out", type=pathlib.Path, help="every result, one JSON object a line")
    return parser.parse_args()


def split(text):
    return [part for part in text.split(",") if part]


def last_object(command, timeout):
    """The last line of what a program prints, as JSON; or what went wrong, as text."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return None, (done.stderr.strip().splitlines() or ["no output"])[-1]
    result = json.loads(lines[-1])
    if "loss" in result and (result["loss"] is None or result["loss"] != result["loss"]):
        return None, "the loss is not a number"
    return result, ""


def main():
    args = arguments()
    danlu = [args.danlu, "--adapter", args.adapter]
    if args.check:
        for precision in split(args.precisions):
            if subprocess.run([*danlu, "--precision", precision, "check"]).returncode != 0:
                sys.exit(f"danlu check --precision {precision} failed")
    programs = {f"danlu {p}": [*danlu, "--precision", p, "bench", "--json"] for p in split(args.precisions)}
    for mode in split(args.modes):
        programs[f"torch {mode}"] = [sys.executable, str(HERE / "torch_step.py"), "--mode", mode]
    for mode in split(args.burn_modes) if args.burn else []:
        programs[f"burn {mode}"] = [args.burn, "--mode", mode]
    found, failed = {}, {}
    for round_ in range(args.rounds):
        for shape in split(args.shapes):
            flags = [part for key, value in SHAPES[shape].items() for part in (f"--{key}", str(value))]
            for name, command in programs.items():
                result, wrong = last_object([*command, *flags], args.timeout)
                if result is None:
                    failed[name, shape] = wrong
                    continue
                found.setdefault((name, shape), []).append(result)
                if args.out:
                    with args.out.open("a") as out:
                        out.write(json.dumps({"round": round_, "shape": shape, "program": name, **result}) + "\n")
                print(f"{round_} {shape} {name}: {result['tokens_per_second']:,.0f} tokens/s", file=sys.stderr)
    shapes = split(args.shapes)
    print("| tokens/s | " + " | ".join(shapes) + " |")
    print("| --- |" + " --- |" * len(shapes))
    for name in programs:
        cells = []
        for shape in shapes:
            runs = [r["tokens_per_second"] for r in found.get((name, shape), [])]
            cells.append(f"{statistics.median(runs):,.0f}" if runs else f"failed: {failed.get((name, shape), '')}")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
