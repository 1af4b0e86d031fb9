"""Compares GGUF files of models with published kinds of tokenizers, as danlu writes them, with llama.cpp itself, which is in
the PyPI package xllamacpp.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install xllamacpp transformers tokenizers numpy safetensors jinja2
    /tmp/venv/bin/python tests/golden/check_imported.py DANLU OUT.json [KIND... | NAME=FOLDER...]

Each kind of make_splits.py, or the tokenizer in a folder, gets random weights, a vocabulary of 4,000 tokens and a chat template, and is exported in f32.
Of each: texts of tests/fixtures/texts.json, and 1,000 random texts of all kinds of characters, whose tokens differ from
those of transformers; the largest difference of a log-probability from `danlu score` (KV cache in f32); greedy
continuations and chat answers that equal those of `danlu generate`, up to the first special token; conversations whose
rendered tokens differ from those of `apply_chat_template`. Or the sentence with which danlu refuses the tokenizer. The figures are written to OUT.json.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import make_splits
import numpy as np
from check_gguf import serve
from make_chat import CONVERSATIONS
from make_templates import CHATML, TINYLLAMA
from safetensors.numpy import save_file
from tokenizers import Tokenizer

SIZE = 4000
PROMPTS = ["春眠不觉晓，", "The ", " a space first", "Once upon a time"]
QUESTIONS = ["翻译：我喜欢喝茶。", " Where do you want to go?\r\n", "你好"]


def random_texts(count=1000, seed=7):
    draw = random.Random(seed)
    kinds = {}
    for code in range(1, 0x30000):
        kind = unicodedata.category(chr(code))
        if kind != "Cs":
            kinds.setdefault(kind, []).append(chr(code))
    often = list("'sStTdDmMlLeErRvV'  0123aAbBzZ\n\r\t.,!$+<=>^~|`_-/()") + [
        "'s", "'LL", "'re", "'VE", " '", "\u0301", "\u0303", "\u0085", "\u00a0", "\u2028", "\u3000", "\u200b", "\u200d", "春", "眠", "あ",
        "ア", "한", "é", "É", "ß", "ſ", "\u212a", "ǅ", "²", "Ⅷ", "٣", "क", "ि", "्", "😀", "\ufe0f", "़", "\r\n", "\n\n", "  ", "   "]
    some = lambda: draw.choice(often) if draw.random() < 0.75 else draw.choice(kinds[draw.choice(sorted(kinds))])
    return ["".join(some() for _ in range(draw.randint(2, 14))) for _ in range(count)]


def model(kind, folder):
    """A Llama of random weights with this kind of tokenizer, or that of a folder."""
    given = kind.partition("=")[2]
    if given:
        tok, named = Tokenizer.from_file(given + "/tokenizer.json"), {}
        settings = json.loads(Path(given, "tokenizer_config.json").read_text())
        for key in ("bos_token", "eos_token", "unk_token"):
            token = settings.get(key)
            if token:
                named[key] = token if isinstance(token, str) else token["content"]
    else:
        tok, named = (make_splits.byte_level if kind in make_splits.BYTE_LEVEL else make_splits.sentence_piece)(kind, SIZE)
    rows, width, inner, heads, size, layers = tok.get_vocab_size(), 64, 128, (4, 2), 16, 2
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows, "hidden_size": width,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1], "head_dim": size, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 1e4, "tie_word_embeddings": True, "hidden_act": "silu",
        "eos_token_id": tok.token_to_id(named["eos_token"]), "bos_token_id": tok.token_to_id(named["bos_token"])}
    draw = np.random.default_rng(0)
    weights = lambda *shape: (draw.standard_normal(shape) * 0.2).astype(np.float32)
    ones = np.ones(width, np.float32)
    tensors = {"model.embed_tokens.weight": weights(rows, width), "model.norm.weight": ones}
    for layer in range(layers):
        name = f"model.layers.{layer}."
        shapes = {"self_attn.q_proj": (heads[0] * size, width), "self_attn.k_proj": (heads[1] * size, width),
                  "self_attn.v_proj": (heads[1] * size, width), "self_attn.o_proj": (width, heads[0] * size),
                  "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
        tensors |= {f"{name}{part}.weight": weights(*shape) for part, shape in shapes.items()}
        tensors |= {f"{name}{part}.weight": ones for part in ("input_layernorm", "post_attention_layernorm")}
    special = [added.content for added in tok.get_added_tokens_decoder().values()]
    template = CHATML if "<|im_end|>" in special else TINYLLAMA
    if kind.startswith("llama3"):
        template = "{{ bos_token }}" + template
    folder.mkdir()
    save_file(tensors, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(tok.to_str())
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def check(danlu, kind, work):
    from transformers import AutoTokenizer

    folder, path = work / "model", work / "model.gguf"
    model(kind, folder)

    def ours(*args):
        done = subprocess.run([danlu, *args, "--adapter", "cpu", "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    done = subprocess.run([danlu, "export", "--model", folder, "--gguf", path, "--dtype", "f32"], capture_output=True, text=True)
    if done.returncode:
        assert done.returncode == 2 and not path.exists(), done
        return {"refused": done.stderr.strip().replace(str(work) + "/", "")}
    notes = [line.strip() for line in done.stderr.splitlines()]
    tok = AutoTokenizer.from_pretrained(folder)
    server, post = serve(str(path))

    def differing(texts):
        differ = {"differ": [], "spell a special token": 0, "composed": 0, "zero byte": 0}
        for text in texts:
            want = tok(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            if post("/tokenize", content=text, add_special=False, parse_special=False)["tokens"] == want:
                continue
            if any(token in text for token in tok.all_special_tokens):
                differ["spell a special token"] += 1
            elif "\0" in text:
                differ["zero byte"] += 1
            elif text != unicodedata.normalize("NFC", text):
                differ["composed"] += 1
            else:
                differ["differ"].append(text[:40])
        return {name: what for name, what in differ.items() if what}

    texts, others = make_splits.TEXTS, random_texts()
    figures = {"notes": notes, "texts": len(texts), "texts_that_differ": differing(texts),
               "random_texts": len(others), "random_texts_that_differ": differing(others)}
    # A text with the token before it, if the tokenizer puts one there.
    first = post("/tokenize", content="a b", add_special=True, parse_special=False)["tokens"]
    figures["begin_equal"] = first == tok("a b")["input_ids"]
    ids = tok(" ".join(PROMPTS) + "夜来风雨声，花落知多少。I like to drink tea.")["input_ids"][:60]
    (work / "ids.json").write_text(json.dumps({"input_ids": [ids]}))
    logprobs = ours("score", "--model", folder, "--ids", work / "ids.json")["logprobs"][0]
    worst, places = 0.0, 0
    for at in range(2, len(ids), 3):
        answer = post("/completion", prompt=ids[:at], n_predict=1, temperature=0, n_probs=tok.vocab_size + 64, cache_prompt=False)
        # There are none where the likeliest token ends the text.
        for entry in answer.get("completion_probabilities", [{"top_logprobs": []}])[0]["top_logprobs"]:
            if entry["id"] == ids[at]:
                worst, places = max(worst, abs(entry["logprob"] - logprobs[at - 1])), places + 1
    figures |= {"logprob_places": places, "logprob_largest_difference": worst}
    def spoken(ids):
        """The tokens up to the first special one; llama.cpp ends a text at more of them than transformers does."""
        return ids[: next((at for at, id in enumerate(ids) if id in tok.all_special_ids or id in added), len(ids))]

    added = set(tok.get_added_vocab().values())
    greedy = 0
    for prompt in PROMPTS:
        a = ours("generate", "--model", folder, "--prompt", prompt, "--temperature", "0", "--max-new-tokens", "40")["ids"]
        b = post("/completion", prompt=prompt, n_predict=40, temperature=0, top_k=1, cache_prompt=False, return_tokens=True)["tokens"]
        greedy += spoken(a) == spoken(b)
    figures["greedy_equal"] = f"{greedy} of {len(PROMPTS)}"
    chat, differ = 0, []
    for question in QUESTIONS:
        a = ours("generate", "--model", folder, "--chat", "--prompt", question, "--temperature", "0", "--max-new-tokens", "40")
        b = post("/v1/chat/completions", messages=[{"role": "user", "content": question}], max_tokens=40, temperature=0, top_k=1)
        want = tok.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True)["input_ids"]
        # Of bytes that are no character each says what it likes.
        plain = lambda text: re.sub("\ufffd+", "\ufffd", text).rstrip("\ufffd")
        chat += plain(a["text"]) == plain(b["choices"][0]["message"]["content"])
        if b["usage"]["prompt_tokens"] != len(want):
            differ.append(f"{b['usage']['prompt_tokens']} tokens for {len(want)}: {question[:20]}")
    figures |= {"chat_equal": f"{chat} of {len(QUESTIONS)}", "chat_prompts_that_differ": differ}
    rendered = []
    for turns in CONVERSATIONS:
        text = post("/apply-template", messages=turns[:-1])["prompt"]
        wanted = tok.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
        # llama.cpp takes the begin token off the text and puts it before the tokens.
        begins = text != wanted and tok.bos_token + text == wanted
        want = tok.apply_chat_template(turns[:-1], add_generation_prompt=True, return_dict=True)["input_ids"]
        made = post("/tokenize", content=text, add_special=begins, parse_special=True)["tokens"]
        if (text != wanted and not begins) or (made != want and text == unicodedata.normalize("NFC", text)):
            rendered.append(turns[0]["content"][:20])
    figures |= {"conversations": len(CONVERSATIONS), "conversations_that_differ": rendered}
    return figures


def main():
    danlu, out, *kinds = sys.argv[1:]
    import xllamacpp

    if kinds[:1] == ["--one"]:
        with tempfile.TemporaryDirectory() as work:
            Path(out).write_text(json.dumps(check(danlu, kinds[1], Path(work)), ensure_ascii=False))
        os._exit(0)  # the server's threads do not end by themselves
    file = Path(out)
    figures = json.loads(file.read_text()) if file.exists() else {}
    figures["xllamacpp"] = xllamacpp.__version__
    for kind in kinds or make_splits.KINDS:
        with tempfile.TemporaryDirectory() as scratch:
            one = Path(scratch, "one.json")
            subprocess.run([sys.executable, __file__, danlu, one, "--one", kind], check=True, stderr=subprocess.PIPE)
            name = kind.partition("=")[0]
            figures[name] = json.loads(one.read_text())
        print(name, json.dumps(figures[name], ensure_ascii=False), flush=True)
        file.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
