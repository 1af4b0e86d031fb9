"""Compares danlu's first loss of fine-tuning with that of transformers' own Llama, conversation by conversation.

A Llama of random weights gets the tokenizers and chat templates of tests/golden/make_templates.py (ChatML as SmolLM2 and
Qwen have it, Llama 3's, TinyLlama's). danlu fine-tunes it for one step on each of the 20 conversations of
tests/golden/make_chat.py; transformers renders the same messages with `apply_chat_template`, and its `LlamaForCausalLM`
gives the loss over the answers. The two must differ by less than 1e-4. What danlu's reader rejects is counted.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch==2.11.0 transformers==5.24.0 tokenizers jinja2 numpy safetensors
    /tmp/venv/bin/python scripts/trials/first_loss.py --danlu target/release/danlu
"""

import json
import pathlib
import sys
import tempfile

import trials

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/golden"))

BOUND = 1e-4
CONTEXT = 512


def model(folder, tokenizer, end):
    """Saves a Llama of random weights with this tokenizer; returns it as danlu begins with it: with a row for padding, at
    the mean of the others, where the tokenizer has no padding token that is not its end of text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=64, intermediate_size=160, num_hidden_layers=3,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=CONTEXT,
                         initializer_range=0.2, tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.eos_token_id, pad_token_id=None)
    llama = LlamaForCausalLM(config).eval()
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        table = llama.get_input_embeddings().weight.data
        mean = table.double().mean(0, keepdim=True).float()
        llama.resize_token_embeddings(len(tokenizer) + 1, mean_resizing=False)
        llama.get_input_embeddings().weight.data[-1:] = mean
    return llama


def theirs(llama, case):
    import torch

    with torch.no_grad():
        ids, labels = torch.tensor([case["ids"]]), torch.tensor([case["labels"]])
        return llama(input_ids=ids, labels=labels).loss.item()


def main():
    args = trials.options(__doc__.splitlines()[0], 0)
    from make_chat import CONVERSATIONS
    from make_templates import case, chatml, llama3, tinyllama
    from transformers import AutoTokenizer

    danlu = trials.Danlu(args, "first-loss")
    table = trials.Table("template")
    # Instead of the built-in text and probes, which would be tokenized and completed in every run.
    text = pathlib.Path(danlu.work, "text.txt")
    text.write_text("".join(f"Line {at} of a short text.\n\n" for at in range(40)))
    small = [f"source=[{{name=\"text\",path={json.dumps(str(text))}}}]", "probe=[{prompt=\"Line\",expected=\"1\"}]"]
    for name, make, end in [("chatml", chatml, "<|im_end|>"), ("llama3", llama3, "<|eot_id|>"), ("tinyllama", tinyllama, "</s>")]:
        folder = pathlib.Path(danlu.work, name)
        folder.mkdir(exist_ok=True)
        make().save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        llama = model(folder, tokenizer, end)
        for at, turns in enumerate(CONVERSATIONS):
            # The other conversation is held out by its file's name.
            data = folder / f"data-{at}"
            data.mkdir()
            for file, of in [("train", turns), ("test", CONVERSATIONS[3 if at == 2 else 2])]:
                (data / f"{file}.jsonl").write_text(json.dumps({"messages": of}) + "\n")
            source = json.dumps(str(data))
            sets = [f"sft.source=[{{name=\"one\",path={source}}}]", f"context={CONTEXT}", "batch_size=1", "packing=false",
                    "eval_steps=0", "probe_steps=0", "save_steps=0", "warmup_steps=10", *small]
            run = danlu.folder(f"{name}-{at}")
            result = danlu.run(["train", "--json", "--stage", "sft", "--steps", "1", "--from", folder, "--run", run,
                                *trials.sets(sets)])
            words = [turn["content"] for turn in turns if turn["role"] != "system"]
            if not all(text.strip() for text in words):
                problems = [] if result.code == 2 and b"empty" in result.err else [f"an empty turn is not rejected: {result}"]
                table.count(name, rejected=1)
                table.verdict(name, str(at), problems)
                continue
            losses = [line["loss"] for line in result.lines() if line.get("step") == 1 and "loss" in line and "event" not in line]
            if result.code != 0 or not losses:
                table.verdict(name, str(at), [f"it does not train: {result}"])
                continue
            apart = abs(losses[0] - theirs(llama, case(tokenizer, turns, end)))
            table.count(name, compared=1, most_apart=apart)
            table.verdict(name, str(at), [f"{apart} apart"] if apart > BOUND else [])
    table.end(danlu)


if __name__ == "__main__":
    main()
