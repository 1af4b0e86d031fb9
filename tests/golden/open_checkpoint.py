"""Opens a checkpoint made by `danlu train` with Hugging Face transformers and compares the two programs.

Not part of CI: it needs torch and transformers (see make.py for the environment) and a built danlu.

    cargo build --release
    ./target/release/danlu train --run /tmp/run --size 1m --steps 60 --adapter cpu
    /tmp/torchenv/bin/python tests/golden/open_checkpoint.py ./target/release/danlu /tmp/run/checkpoints/pretrain-00000060

What is compared, each with a bound that fails the script:
    loading   AutoModelForCausalLM.from_pretrained finds every tensor and no other, under the config as written
    logits    log-probabilities of every next token of real text, against `danlu score` (1e-4), and the loss
    greedy    model.generate without sampling, against `danlu generate --ids --temperature 0` (same ids)
    tokens    AutoTokenizer's ids of Chinese, English, mixed and odd strings; ours are observed through
              `danlu generate --prompt` on a model of large random weights, whose greedy continuation depends on
              every id of the prompt: it must be the one that transformers generates after AutoTokenizer's ids, and
              the text printed must be AutoTokenizer's decoding of it
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "床前明月光，疑是地上霜。",
    "人之初，性本善。",
    "The furnace is warm, and the elixir is not done.",
    "Once upon a time there were 3 little pigs.",
    "中文 and English mixed 123，罕字：龘𠮷",
    "emoji 🐉 tab\tline\nend",
    "  two  spaces, e\u0301 combining, ﬁ ligature, Ａ wide",
    "<|endoftext|> spelled out is text",
]
NEW = 12


def danlu(binary, *args):
    """The last line of a verb's stdout as JSON."""
    done = subprocess.run([binary, *args, "--adapter", "cpu", "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def scramble(model, folder, out):
    """The checkpoint with large random weights in `out`: its output depends on every id of the prompt."""
    wild = type(model)(model.config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in wild.parameters():
            p.normal_(0.0, 0.3, generator=generator) if p.dim() > 1 else p.fill_(1.0)
    wild.save_pretrained(out)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, out / name)
    return wild


def main(binary, folder):
    config = json.loads((folder / "config.json").read_text())
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    model.eval()
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    for key in ("hidden_size", "num_key_value_heads", "head_dim", "tie_word_embeddings", "eos_token_id", "pad_token_id"):
        assert getattr(model.config, key) == config[key], key
    tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}: {type(model).__name__},",
          f"{type(tokenizer).__name__}, {sum(p.numel() for p in model.parameters())} parameters")
    assert tokenizer.eos_token_id == config["eos_token_id"] and tokenizer.pad_token_id == config["pad_token_id"]

    window = config["max_position_embeddings"]
    rows = [tokenizer(t)["input_ids"] for t in TEXTS]
    special = set(tokenizer.all_special_ids)
    with tempfile.TemporaryDirectory() as scratch:
        ids = Path(scratch) / "ids.json"
        ids.write_text(json.dumps({"input_ids": [r[:window] for r in rows]}))
        ours = danlu(binary, "score", "--model", str(folder), "--ids", str(ids))
        worst, total, count = 0.0, 0.0, 0
        for row, got in zip(rows, ours["logprobs"]):
            row = torch.tensor([row[:window]])
            with torch.no_grad():
                logp = model(row).logits[0, :-1].log_softmax(-1)
            want = logp.gather(-1, row[0, 1:, None])[:, 0]
            assert len(got) == len(want)
            worst = max(worst, (want - torch.tensor(got)).abs().max().item())
            total, count = total - want.sum().item(), count + len(want)
        loss = abs(total / count - ours["loss"])
        print(f"score: {count} log-probabilities, largest difference {worst:.2e}; loss {ours['loss']:.6f}, off by {loss:.2e}")
        assert worst < 1e-4 and loss < 1e-4

        short = [r[: window - NEW] for r in rows]
        ids.write_text(json.dumps({"input_ids": short}))
        ours = danlu(binary, "generate", "--model", str(folder), "--ids", str(ids), "--temperature", "0",
                     "--max-new-tokens", str(NEW), "--ignore-eos")["ids"]
        drawn = 0
        for row, got in zip(short, ours):
            want, row = list(row), torch.tensor([row])
            for _ in range(NEW):
                with torch.no_grad():
                    want.append(model(torch.tensor([want])).logits[0, -1].argmax().item())
            assert got == want, (got, want)
            drawn += NEW
        print(f"generate --ids: {drawn} greedy tokens of {len(short)} rows, all the same")

    with tempfile.TemporaryDirectory() as scratch:
        wild = scramble(model, folder, Path(scratch))
        for text, row in zip(TEXTS, rows):
            assert special.isdisjoint(row) or text.startswith("<|"), (text, row)
            assert tokenizer.decode(row, skip_special_tokens=False) == text, (text, tokenizer.decode(row))
            # transformers encodes a spelled special token as the token; danlu encodes it as text.
            plain = tokenizer(text, split_special_tokens=True)["input_ids"]
            got = danlu(binary, "generate", "--model", scratch, "--prompt", text, "--temperature", "0",
                        "--max-new-tokens", str(NEW), "--ignore-eos")
            want = list(plain)
            for _ in range(NEW):
                with torch.no_grad():
                    logits = wild(torch.tensor([want])).logits[0, -1][: len(tokenizer)]
                want.append(logits.argmax().item())
            assert got["ids"] == want[len(plain):], (text, got["ids"], want[len(plain):])
            assert got["text"] == tokenizer.decode(got["ids"], skip_special_tokens=True), (text, got)
    print(f"tokens: {sum(map(len, rows))} ids of {len(TEXTS)} texts decode to their text, and danlu goes on from them alike")


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    main(sys.argv[1], Path(sys.argv[2]))
