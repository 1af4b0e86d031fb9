"""Compares GGUF files that danlu wrote with llama.cpp itself, which is in the PyPI package xllamacpp.

    python tests/golden/check_gguf.py DANLU OUT.json NAME=FOLDER:GGUF...

FOLDER is the checkpoint, GGUF the file exported from it. Of each file: texts of tests/fixtures/texts.json whose tokens
differ from those of the tokenizers crate, the largest difference of a log-probability from `danlu score` (KV cache in
f32), greedy continuations and chat answers that equal those of `danlu generate`. The figures are written to OUT.json.
Needs: xllamacpp, tokenizers.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = json.loads((ROOT / "tests/fixtures/texts.json").read_text())
SCORED = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。I like to drink tea."
PROMPTS = ["春眠不觉晓，", "The ", "白日依山尽，", "Once upon a time"]
QUESTIONS = ["翻译：我喜欢喝茶。", "翻译：Where do you want to go?", "你好"]


def serve(path):
    import xllamacpp as x

    p = x.CommonParams()
    p.model.path = path
    p.n_ctx, p.n_parallel, p.warmup, p.use_jinja, p.fit_params = 256, 1, False, True, False
    p.cpuparams.n_threads = 1
    p.cache_type_k = p.cache_type_v = x.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = x.Server(p)
    address = server.listening_address

    def post(where, **body):
        request = urllib.request.Request(address + where, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read())

    return server, post


def check(danlu, folder, path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.encode_special_tokens = True
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    server, post = serve(path)

    def ours(*args):
        done = subprocess.run([danlu, *args, "--adapter", "cpu", "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    differ, tokens = [], 0
    for text in TEXTS:
        want = encode(text)
        tokens += len(want)
        if post("/tokenize", content=text, add_special=False, parse_special=False)["tokens"] != want:
            differ.append(text[:40])
    ids = encode(SCORED)[:60]
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "ids.json"
        file.write_text(json.dumps({"input_ids": [ids]}))
        logprobs = ours("score", "--model", folder, "--ids", str(file))["logprobs"][0]
    worst, places = 0.0, 0
    for i in range(4, len(ids), 2):
        answer = post("/completion", prompt=ids[:i], n_predict=1, temperature=0, n_probs=4096, cache_prompt=False)
        for entry in answer["completion_probabilities"][0]["top_logprobs"]:
            if entry["id"] == ids[i]:
                worst, places = max(worst, abs(entry["logprob"] - logprobs[i - 1])), places + 1
    greedy = 0
    for prompt in PROMPTS:
        a = ours("generate", "--model", folder, "--prompt", prompt, "--temperature", "0", "--max-new-tokens", "40")
        b = post("/completion", prompt=prompt, n_predict=40, temperature=0, top_k=1, cache_prompt=False)
        greedy += a["text"] == b["content"]
    figures = {
        "texts": len(TEXTS), "tokens": tokens, "texts_that_differ": len(differ), "differ": differ[:5],
        "logprob_places": places, "logprob_largest_difference": worst, "greedy_equal": f"{greedy} of {len(PROMPTS)}",
    }
    ends = json.loads(pathlib.Path(folder, "generation_config.json").read_text())["eos_token_id"]
    if isinstance(ends, list) and len(ends) > 1:
        equal = 0
        for question in QUESTIONS:
            a = ours("generate", "--model", folder, "--chat", "--prompt", question, "--temperature", "0", "--max-new-tokens", "40")
            b = post("/v1/chat/completions", messages=[{"role": "user", "content": question}], max_tokens=40, temperature=0, top_k=1)
            equal += a["text"] == b["choices"][0]["message"]["content"]
        figures["chat_equal"] = f"{equal} of {len(QUESTIONS)}"
    return figures, server


def main():
    danlu, out, *cases = sys.argv[1:]
    import xllamacpp

    if len(cases) == 1:
        name, where = cases[0].split("=", 1)
        folder, path = where.rsplit(":", 1)
        figures, _ = check(danlu, folder, path)
        file = pathlib.Path(out)
        all_figures = json.loads(file.read_text()) if file.exists() else {}
        all_figures["xllamacpp"] = xllamacpp.__version__
        all_figures[name] = figures
        file.write_text(json.dumps(all_figures, ensure_ascii=False, indent=1) + "\n")
        print(name, json.dumps(figures, ensure_ascii=False), flush=True)
        os._exit(0)  # the server's threads do not end by themselves
    for case in cases:
        subprocess.run([sys.executable, __file__, danlu, out, case], check=True)


if __name__ == "__main__":
    main()
