"""What train.py needs beside the training itself: handover.json, the check of the folder, options, danlu's log, and the
files that `danlu import` reads."""

import argparse, json, math, os, pathlib, shutil, sys, time

if "WORLD_SIZE" not in os.environ:
    # Without torchrun there is one process, and the Trainer would spread the model over all GPUs that it sees.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import TrainerCallback

HERE = pathlib.Path(__file__).resolve().parent
H = json.loads((HERE / "handover.json").read_text(encoding="utf-8"))
P, STAGE, START = H["plan"], H["stage"], H["step"]
RANK, LOCAL, WORLD = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1)))
# Optimizer steps in a step of danlu: an update of grpo has several passes of several minibatches.
EACH = P["num_mini_batches"] * P["num_iterations"] if STAGE == "grpo" else 1
# Metrics of the trainers that danlu's lines have under other names, or not at all.
OTHERS = ("learning_rate", "epoch", "total_flos", "num_tokens", "step_time", "num_input_tokens_seen")


def stop(why, code=2):
    """Ends every process; the first one says why. The code is 2 for bad input."""
    if RANK == 0:
        print(f"train.py: {why}", file=sys.stderr, flush=True)
    sys.exit(code)


def info(path):
    """Length and blake3 of a file; the hash is null where the package blake3 is not installed."""
    try:
        from blake3 import blake3
    except ImportError:
        return {"bytes": path.stat().st_size, "blake3": None}
    return {"bytes": path.stat().st_size, "blake3": blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()}


def check():
    """Refuses a folder that was copied in part or changed."""
    for name, told in H["files"].items():
        path = HERE / name
        size = path.stat().st_size if path.is_file() else None
        if size != told["bytes"]:
            there = "missing" if size is None else f"{size} bytes long"
            stop(f"{name} is {there}, and handover.json names {told['bytes']} bytes; copy the folder again as a whole")
        if LOCAL == 0 and info(path)["blake3"] not in (None, told["blake3"]):
            print(f"train.py: {name} has other bytes than handover.json says; copy the folder again", file=sys.stderr, flush=True)
            sys.exit(2)


def arguments(doc):
    """The options, and the arguments that every trainer gets."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=P["steps"], help="end after this many of the steps that were exported")
    parser.add_argument("--micro", type=int, help="most rows of a process at a time; fewer take less memory")
    parser.add_argument("--bf16", action="store_true", help="compute in bf16 over f32 weights and moments")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--fsdp", action="store_true", help="shard weights, gradients and moments (FSDP) in place of copies (DDP)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint in out/")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "out", help="the folder for log, checkpoints and model")
    a = parser.parse_args()
    if not 1 <= a.steps <= P["steps"]:
        stop(f"--steps is {a.steps}, and the hand-over has 1 to {P['steps']} steps; export more with danlu export --steps N")
    if a.fsdp and not torch.cuda.is_available():
        stop("--fsdp shards a model over GPUs, and torch finds none; leave it out")
    check()
    if (a.out / "metrics.jsonl").is_file() and not a.resume:
        stop(f"{a.out} has a training already; add --resume to continue it, or remove that folder")
    # The rows of a step are divided among processes and passes; a loss over all of them does not depend on how.
    text = STAGE in ("pretrain", "sft")
    rows = P["batch_size"] * P["accumulation"] if text else P["rollouts"] // P["num_mini_batches"] if STAGE == "grpo" else P["order_width"]
    if STAGE == "reward":
        rows += -rows % WORLD  # filled with pairs that do not count
    if rows % WORLD:
        key = "rollouts" if STAGE == "grpo" else "batch_size"
        stop(f"a step has {rows} rows, which do not divide among {WORLD} processes; export again with --set {STAGE}.{key}=N for a multiple N of {WORLD}")
    most = a.micro or (P["batch_size"] // WORLD if text else rows // WORLD)
    a.micro = max(n for n in range(1, max(most, 1) + 1) if rows // WORLD % n == 0)
    a.out.mkdir(parents=True, exist_ok=True)
    return a, dict(
        output_dir=str(a.out), max_steps=a.steps * EACH, per_device_train_batch_size=a.micro, gradient_accumulation_steps=rows // WORLD // a.micro,
        train_sampling_strategy="sequential", max_grad_norm=P["max_grad_norm"], logging_steps=1, logging_nan_inf_filter=False, report_to=[],
        disable_tqdm=True, save_steps=(P["save_steps"] or a.steps) * EACH, save_total_limit=3, bf16=a.bf16, torch_compile=a.compile,
        seed=H["seed"] % 2**32, use_cpu=not torch.cuda.is_available(), dataloader_pin_memory=torch.cuda.is_available(), fsdp=a.fsdp or None)


class Shards(torch.utils.data.Dataset):
    """Windows of token streams by the shares of their sources, drawn by (seed, row): the rows were too many to write."""

    def __init__(self):
        self.streams = [np.load(HERE / source["ids"], mmap_mode="r") for source in H["shards"]]
        shares = np.array([source["share"] for source in H["shards"]])
        self.shares = shares / shares.sum()

    def __len__(self):
        return P["steps"] * P["accumulation"] * P["batch_size"]

    def __getitem__(self, at):
        draw = np.random.default_rng([H["seed"], START, at])
        stream = self.streams[draw.choice(len(self.streams), p=self.shares)]
        begin = int(draw.integers(0, len(stream) - P["context"]))
        row = torch.from_numpy(stream[begin : begin + P["context"] + 1].astype(np.int64))
        return {"input_ids": row[:-1], "labels": row[1:], "shift_labels": row[1:]}


def engine():
    kind, name = ("cuda", torch.cuda.get_device_name()) if torch.cuda.is_available() else ("cpu", "cpu")
    return {"engine": f"transformers {transformers.__version__}, {WORLD} × {kind}", "adapter": name}


class Log(TrainerCallback):
    """metrics.jsonl and events.jsonl with danlu's lines, written one by one, so that a screen can follow."""

    def __init__(self, a, rate):
        self.a, self.out, self.rate, self.held_out = a, a.out, rate, None
        self.sums, self.total = {}, H["total_tokens"]
        # Tokens of each micro-batch without padding.
        self.tokens = np.load(HERE / "rows" / "tokens.npy") if "rows/tokens.npy" in H["files"] else None
        self.begun = self.mark = time.time()

    def put(self, name, line):
        if RANK == 0:
            line = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
            with open(self.out / name, "a", encoding="utf-8") as log:
                log.write(json.dumps({"stage": STAGE, "time": time.time(), **line}, ensure_ascii=False) + "\n")

    def event(self, name, **fields):
        self.put("events.jsonl", {"event": name, **fields})

    def tokens_until(self, steps):
        """Tokens of the first steps of the hand-over."""
        if self.tokens is None:
            return P.get("tokens_per_step", 0) * steps
        return int(self.tokens[: steps * P["accumulation"]].sum())

    def on_train_begin(self, args, state, control, **kwargs):
        done = state.global_step // EACH
        if RANK == 0:
            for name in ("metrics.jsonl", "events.jsonl"):  # a resume repeats the steps after its checkpoint
                path = self.out / name
                lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
                kept = [line for line in lines if json.loads(line).get("step", 0) <= START + done]
                path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
                if kept and name == "metrics.jsonl":
                    self.total = json.loads(kept[-1])["total_tokens"]
        self.event("started", run=H["run"], size=H["size"], **engine(), precision="bf16" if args.bf16 else "f32", parameters=H["parameters"],
                   batch=P["batch_size"] * P["accumulation"], context=P["context"], steps=START + self.a.steps, step=START + done,
                   parent=H["parent"], memory_bytes=0, host_memory_bytes=0, sources=H["sources"])
        self.begun = self.mark = time.time()

    def on_step_end(self, args, state, control, model=None, **kwargs):
        step, last = START + state.global_step, state.global_step == state.max_steps
        if self.held_out and (last or P["eval_steps"] and step % P["eval_steps"] == 0):
            before = time.time()
            sample = self.measure(model, "sample")
            for source, loss, bits in self.measure(model, "whole") if last else sample:
                more = {"sampled_loss": sample[-1][1]} if last and source == "all" else {}
                self.event("eval", step=step, source=source, eval_loss=loss, eval_bits_per_byte=bits, train_loss=None, **more)
            self.mark += time.time() - before

    @torch.no_grad()
    def measure(self, model, which):
        """Loss and bits per byte of every source on the held-out rows that danlu measures, and over all."""
        rows, collate = self.held_out[0](f"heldout/{which}.npy"), self.held_out[1]
        held, n, each, device = H["heldout"][which], len(rows), self.a.micro, next(model.parameters()).device
        part = -(-n // (WORLD * each)) * each  # as many passes in every process, as FSDP wants it
        sums = torch.zeros(n, device=device)
        training = model.training
        model.eval()
        for first in range(RANK * part, (RANK + 1) * part, each):
            batch = {k: v.to(device) for k, v in collate([rows[min(at, n - 1)] for at in range(first, first + each)]).items()}
            targets, _ = batch.pop("shift_labels"), batch.pop("labels")
            logits = model(**batch, use_cache=False).logits.float()
            losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none")
            there = max(min(n - first, each), 0)
            sums[first : first + there] = losses.view(each, -1).sum(1)[:there]
        model.train(training)
        if WORLD > 1:
            torch.distributed.all_reduce(sums)
        of, at, sums = {}, 0, sums.double().cpu()  # of each source: loss, bits and number of its targets
        for source in held["sources"]:
            loss = sums[at : at + source["rows"]].sum().item()
            at += source["rows"]
            names = [source["source"]] + ["all"] * source["counts"]
            for name in names:
                sum_loss, sum_bits, scored = of.get(name, (0.0, 0.0, 0))
                of[name] = sum_loss + loss, sum_bits + loss * source["bits_per_nat"], scored + source["scored"]
        found = [(name, loss / scored, bits / scored) for name, (loss, bits, scored) in of.items() if name != "all"]
        if "all" in of:
            loss, bits, scored = of["all"]
            found.append(("all", loss / scored, loss / scored * held["bits_per_nat"] if held["bits_per_nat"] else bits / scored))
        return found

    def on_log(self, args, state, control, logs=None, **kwargs):
        step = START + state.global_step // EACH
        if "eval_loss" in logs:
            self.event("eval", step=step, source="all", eval_loss=logs["eval_loss"], eval_bits_per_byte=None, train_loss=None)
            self.mark = time.time()
        if "loss" not in logs:
            return
        for name, value in logs.items():
            if isinstance(value, (int, float)) and name not in OTHERS:
                self.sums[name] = self.sums.get(name, 0.0) + value / EACH
        if not math.isfinite(logs["loss"]):
            reason = f"failed: the loss of step {step} is not finite"
            self.event("finished", step=step, reason=reason, failed=True, seconds=time.time() - self.begun)
            stop(f"the loss of step {step} is {logs['loss']}; export again with a lower learning_rate, or resume from an earlier checkpoint", 1)
        if state.global_step % EACH:
            return
        total, before, seconds = H["total_tokens"] + self.tokens_until(step - START), self.total, max(time.time() - self.mark, 1e-9)
        sums, self.sums = self.sums, {}
        if STAGE == "grpo":  # the tokens of its answers
            total = before + round(sums["completions/mean_length"] * P["rollouts"])
        self.total = total
        self.put("metrics.jsonl", {
            "step": step, "loss": sums.pop("loss"), "learning_rate": self.rate(step - 1), "grad_norm": sums.pop("grad_norm", None), "applied": True,
            "tokens_per_second": (total - before) / seconds, "total_tokens": total,
            "epoch": total / H["epoch_tokens"] if H["epoch_tokens"] else 0.0, "step_ms": 1000 * seconds, **sums})
        self.mark = time.time()

    def on_save(self, args, state, control, **kwargs):
        folder, step = self.out / f"checkpoint-{state.global_step}", START + state.global_step // EACH
        if RANK == 0 and (folder / "model.safetensors").is_file():
            carry(folder, self.out, step, args.bf16)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            self.event("saved", step=step, path=str(folder), seconds=time.time() - self.mark, bytes=size, best=False)
        self.mark = time.time()


def carry(folder, out, step, bf16):
    """Puts beside the weights what `danlu import` needs: the tokenizer's files as they were, the log, handover.json."""
    (folder / "chat_template.jinja").unlink(missing_ok=True)  # tokenizer_config.json has it
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(HERE / "model" / name, folder / name)
    for name in ("metrics.jsonl", "events.jsonl"):
        shutil.copyfile(out / name, folder / name)
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "metrics.jsonl", "events.jsonl")
    result = {"step": step, **engine(), "driver": f"torch {torch.__version__}", "precision": "bf16" if bf16 else "f32",
              "files": {name: info(folder / name) for name in names}}
    (folder / "handover.json").write_text(json.dumps({**H, "result": result}, ensure_ascii=False, indent=1), encoding="utf-8")


def finish(trainer, log):
    """Logs the end and saves out/model."""
    state, out = trainer.state, log.out
    step, whole = START + state.global_step // EACH, state.global_step >= state.max_steps
    log.event("finished", step=step, reason="done" if whole else "stopped", failed=False, seconds=time.time() - log.begun)
    trainer.save_model(str(out / "model"))
    if RANK == 0:
        carry(out / "model", out, step, trainer.args.bf16)
        print(f"{STAGE} is at step {step}; back into the run: danlu import --run RUN --stage {STAGE} {out / 'model'}")
    if WORLD > 1:
        # The first process may still wait for a part of a sharded model that this one has only begun to send.
        torch.distributed.barrier()
        # Nothing is left to do; threads of gloo and pyarrow sometimes keep an interpreter from ending.
        sys.stdout.flush()
        os._exit(0)
