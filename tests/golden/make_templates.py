"""Makes tests/golden/templates.json: conversations as transformers renders and tokenizes them with the chat templates of
models from elsewhere (ChatML as SmolLM2 and Qwen have it, Llama 3's, TinyLlama's), where each answer lies, and the loss
that a Llama has on some of them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3 transformers==5.24.0 jinja2==3.1.6 numpy safetensors
    /tmp/venv/bin/python tests/golden/make_templates.py

The vocabularies are trained here on these conversations; the templates are written here after the published ones. The
forward pass is NumPy in double precision, checked against the numbers of transformers' Llama in tied/golden.json.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from make_chat import CONVERSATIONS
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
TIED = HERE / "tied"
IGNORED = -100

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
You are a helpful assistant.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if strftime_now is defined %}{%- set unused = "a date" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not message.role in ['user', 'assistant'] %}
        {{- raise_exception("Only user and assistant roles are supported: " ~ message.role) }}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {%- generation %}
    {{- message['content'] | trim + '<|eot_id|>' }}
    {%- endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

TINYLLAMA = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ROLES = ["user assistant system You are a helpful assistant.\n\n<|user|> <|assistant|> <|system|>"] * 9
TEXTS = ROLES + [turn["content"] for turns in CONVERSATIONS for turn in turns]


def byte_level(special, split=SPLIT, **model):
    tok = Tokenizer(models.BPE(**model))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=330, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator(TEXTS, trainer)
    tok.add_special_tokens(special)
    return tok


def chatml():
    tok = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], SPLIT.replace(r"\p{N}{1,3}", r"\p{N}"))
    tok.normalizer = normalizers.NFC()
    # As SmolLM2-Instruct: the end of a turn ends a text and pads it too.
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|im_end|>", unk_token="<|endoftext|>", chat_template=CHATML)


def llama3():
    tok = byte_level(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
                     ignore_merges=True)
    begin = "<|begin_of_text|>"
    tok.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tok.token_to_id(begin))])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token=begin, eos_token="<|end_of_text|>", chat_template=LLAMA3)


def tinyllama():
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tok.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    named = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=420, show_progress=False, special_tokens=named + [f"<0x{b:02X}>" for b in range(256)])
    tok.train_from_iterator(TEXTS, trainer)
    file = json.loads(tok.to_str())
    file["added_tokens"] = [added for added in file["added_tokens"] if added["content"] in named]
    tok = Tokenizer.from_str(json.dumps(file))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    return PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                                   chat_template=TINYLLAMA)


def case(tok, turns, end):
    """The ids and labels of a conversation: an answer begins where the rendering of what precedes it ends, and ends with
    the special token behind it."""
    text = tok.apply_chat_template(turns, tokenize=False)
    ids = tok.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
    alone = tok(text, add_special_tokens=False, return_offsets_mapping=True)
    assert alone["input_ids"] == ids
    labels = [IGNORED] * len(ids)
    for at, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        before = tok.apply_chat_template(turns[:at], tokenize=False, add_generation_prompt=True)
        assert text.startswith(before), (text, before)
        start = len(before)
        stop = text.index(end, start) + len(end)
        for place, (first, last) in enumerate(alone["offset_mapping"]):
            if start <= first and last <= stop:
                labels[place] = ids[place]
    prompt = tok.apply_chat_template(turns[:-1], tokenize=True, return_dict=True, add_generation_prompt=True)["input_ids"]
    return {"text": text, "ids": ids, "labels": labels, "prompt": prompt}


def forward(tensors, config, ids):
    """Log-probabilities of transformers' Llama for a row of ids, in double precision."""
    get = lambda name: tensors[name].astype(np.float64)
    heads, size, eps = config["num_attention_heads"], config["head_dim"], config["rms_norm_eps"]
    norm = lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w
    x = get("model.embed_tokens.weight")[ids]
    n = len(ids)
    angles = np.arange(n)[:, None] * config["rope_parameters"]["rope_theta"] ** (-np.arange(0, size, 2) / size)[None]
    cos, sin = (np.concatenate([f(angles)] * 2, -1)[:, None] for f in (np.cos, np.sin))

    def rope(t):
        a, b = np.split(t, 2, -1)
        return t * cos + np.concatenate([-b, a], -1) * sin

    for layer in range(config["num_hidden_layers"]):
        w = lambda name: get(f"model.layers.{layer}.{name}.weight")
        h = norm(x, w("input_layernorm"))
        q, k, v = ((h @ w(f"self_attn.{p}_proj").T).reshape(n, -1, size) for p in "qkv")
        k, v = (np.repeat(t, heads // t.shape[1], 1) for t in (k, v))
        scores = np.einsum("ihd,jhd->hij", rope(q), rope(k)) / np.sqrt(size)
        scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", p, v).reshape(n, -1) @ w("self_attn.o_proj").T
        h = norm(x, w("post_attention_layernorm"))
        gate = h @ w("mlp.gate_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
    logits = norm(x, get("model.norm.weight")) @ get("model.embed_tokens.weight").T
    top = logits.max(-1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))


def check_forward(tensors, config):
    golden = json.loads((TIED / "golden.json").read_text())
    worst = 0.0
    for ids, wanted in zip(golden["input_ids"], golden["logprobs"]):
        made = forward(tensors, config, ids)
        wanted = np.array(wanted[: len(ids) - 1])
        worst = max(worst, np.abs(made[np.arange(len(ids) - 1), ids[1:]] - wanted).max())
    assert worst < 1e-5, worst
    return worst


def loss(tensors, config, tok, cases):
    """The mean loss over all trained tokens of the model that the Rust test puts under a tokenizer: the golden weights,
    an embedding row a token by a formula, and for tokens that danlu adds the mean of these."""
    vocab, width = len(tok), config["hidden_size"]
    table = ((np.arange(vocab * width) * 7919 % 1009).astype(np.float32) - 504) / np.float32(20000)
    table = table.reshape(vocab, width)
    new = 1  # padding: none of the three has one that is not its end of text
    mean = table.astype(np.float64).mean(0).astype(np.float32)
    tensors = tensors | {"model.embed_tokens.weight": np.concatenate([table, np.repeat(mean[None], new, 0)])}
    total, count, which = 0.0, 0, []
    for at, made in enumerate(cases):
        # Left out: what does not fit, and what danlu's reader rejects (empty questions and answers).
        said = all(t["content"].strip() for t in CONVERSATIONS[at] if t["role"] != "system")
        if len(made["ids"]) > config["max_position_embeddings"] + 1 or not said:
            continue
        which.append(at)
        logprobs = forward(tensors, config, made["ids"][:-1])
        for place, label in enumerate(made["labels"][1:]):
            if label != IGNORED:
                total, count = total - logprobs[place, label], count + 1
    assert len(which) >= 5, which
    return {"conversations": which, "loss": float(total / count), "trained": count}


def main():
    tensors, config = load_file(TIED / "model.safetensors"), json.loads((TIED / "config.json").read_text())
    print(f"forward pass: within {check_forward(tensors, config):.1e} of transformers")
    out = {"conversations": CONVERSATIONS, "kinds": {}}
    for name, make, end in [("chatml", chatml, "<|im_end|>"), ("llama3", llama3, "<|eot_id|>"), ("tinyllama", tinyllama, "</s>")]:
        with tempfile.TemporaryDirectory() as folder:
            make().save_pretrained(folder)
            tok = AutoTokenizer.from_pretrained(folder)
            files = {file.name: file.read_text() for file in Path(folder).iterdir()}
        cases = [case(tok, turns, end) for turns in CONVERSATIONS]
        out["kinds"][name] = {
            "tokenizer": json.loads(files["tokenizer.json"]), "tokenizer_config": json.loads(files["tokenizer_config.json"]),
            "chat_template": files.get("chat_template.jinja"), "end": tok.convert_tokens_to_ids(end), "cases": cases,
            "step": loss(tensors, config, tok, cases),
        }
        print(name, len(tok), "tokens", out["kinds"][name]["step"])
    target = HERE / "templates.json"
    target.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(target.name, target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
