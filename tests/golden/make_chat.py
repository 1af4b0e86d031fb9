"""Makes tests/golden/chat.json: conversations rendered, tokenised and masked by transformers with danlu's chat
template (src/data/chat/chat_template.jinja), for both kinds of tokenizer and for an imported one that had to grow.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3 transformers==5.23.0 jinja2==3.1.6
    /tmp/venv/bin/python tests/golden/make_chat.py

With `--step` it makes tests/golden/packed_step.json instead, which needs torch: rows of packed examples, and the loss
and gradients transformers' Llama has for them when no example sees another.

    /tmp/venv/bin/pip install torch numpy safetensors
    /tmp/venv/bin/python tests/golden/make_chat.py --step

The Rust test gives each conversation to danlu and asserts the same text, ids and labels. Text that spells a special
token is not among them: transformers encodes the token, danlu the text (another test covers that).
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATE = (HERE.parent.parent / "src/data/chat/chat_template.jinja").read_text()
IGNORED = -100


def says(*contents, system=None):
    """A conversation of alternating questions and answers."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + turns


CONVERSATIONS = [
    says("你好", "你好！有什么可以帮你？"),
    says("Hello!", "Hello. What shall we read today?"),
    says("背一首《春晓》。", "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。", system="你是一个会背诗的助手。"),
    says("Who walked home?", "The fox walked home.", "And who sang?", "The bird sang.", system="Answer from the story."),
    says("1+1=?", "2", "2+2=?", "4", "再加一？", "5", "谢谢", "不客气。"),
    says("  leading and trailing  ", "  kept as they are  "),
    says("\nline breaks\n\nat both ends\n", "\n\n"),
    says("one space follows", " "),
    says("\ttab\r\nand carriage return", "a\tb\r\nc"),
    says("表情😀🎉", "👩‍👩‍👧 是一家人，🇨🇳 是一面旗。"),
    says("combining e\u0301 and \u0301 alone", "\u0301\u200b\u00a0\u3000"),
    says("龘靐 is rare", "龘（dá）：龙腾飞的样子。"),
    says("{{ not jinja }} {% if x %}", "{# nor this #} {{ '<|' }}"),
    says("quotes \" and ' and \\ and \\n", "\"'\\"),
    says("< | user | > is no token", "nor is <|user or im_end|>"),
    says("<0x41> spells no byte", "<0xE6><0x98><0xA5>"),
    says("", ""),
    says("x", "y", system=""),
    says("春" * 70, "鸟" * 70 + "\u0000"),
    says("write a program", "def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n",
         system="Du bist ein Programmierer. Отвечай кратко. 日本語でも可。"),
]


def golden(folder):
    """What transformers makes of every conversation with the tokenizer of a folder."""
    from transformers import AutoTokenizer

    auto = AutoTokenizer.from_pretrained(folder)
    assert auto.chat_template.strip() == TEMPLATE.strip()
    cases = []
    for turns in CONVERSATIONS:
        made = auto.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        ids, mask = made["input_ids"], made["assistant_masks"]
        assert auto.decode(ids) == auto.apply_chat_template(turns, tokenize=False)
        prompt = auto.apply_chat_template(turns[:-1], add_generation_prompt=True, tokenize=True, return_dict=True)
        assert ids[: len(prompt["input_ids"])] == prompt["input_ids"]
        labels = [token if trained else IGNORED for token, trained in zip(ids, mask, strict=True)]
        cases.append({"ids": ids, "labels": labels, "prompt": len(prompt["input_ids"])})
    try:
        auto.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)
    except Exception as refused:
        assert "unknown role tool" in str(refused), refused
    else:
        raise AssertionError("an unknown role was taken")
    return cases


def trained_here(kind):
    """A kind of tokenizer as danlu trains it; make_tokenizer.py shows these files to be equal."""
    made = json.loads((HERE / "tokenizer.json").read_text())[kind]
    config = made["tokenizer_config"] | {"chat_template": TEMPLATE}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tokenizer.json").write_text(json.dumps(made["tokenizer"]))
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        return {"tokenizer_config": config, "cases": golden(folder)}


def grown():
    """A byte-level tokenizer with another EOS and one of danlu's tokens; transformers adds what it lacks."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    base.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, special_tokens=["</s>", "<|im_end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    base.train_from_iterator([t["content"] for turns in CONVERSATIONS for t in turns], trainer)
    before, size = json.loads(base.to_str()), base.get_vocab_size()
    fast = PreTrainedTokenizerFast(tokenizer_object=base, eos_token="</s>", clean_up_tokenization_spaces=False)
    fast.chat_template = TEMPLATE
    for token in ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]:
        fast.add_tokens(AddedToken(token, special=True, normalized=False), special_tokens=True)
    fast.pad_token = "<|pad|>"
    with tempfile.TemporaryDirectory() as folder:
        fast.save_pretrained(folder)
        cases = golden(folder)
    return {"tokenizer": before, "eos": "</s>", "vocab_size": [size, len(fast)], "cases": cases}


def render():
    from transformers.utils.chat_template_utils import render_jinja_template

    return [render_jinja_template([turns], chat_template=TEMPLATE)[0][0] for turns in CONVERSATIONS]


def step():
    """Packed rows through transformers' Llama, with attention inside each example and positions from its start."""
    import numpy as np
    import torch
    import transformers
    from transformers import LlamaForCausalLM

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    window, rows = 24, [[0, 3], [1, 4, 5], [2]]  # which examples share a row
    lengths = [14, 6, 20, 9, 11, 5]  # of n tokens, n - 1 take a place each
    pad, out = 1, {}
    for name, seed in (("gqa_untied", 5), ("tied", 6)):
        model = LlamaForCausalLM.from_pretrained(HERE / name, attn_implementation="eager", dtype=torch.float32).eval()
        rng = np.random.default_rng(seed)
        examples = []
        for n in lengths:
            ids = rng.integers(0, model.config.vocab_size, n)
            labels = np.where(rng.random(n) < 0.4, IGNORED, ids)
            labels[: n // 3] = IGNORED
            examples.append({"ids": ids.tolist(), "labels": labels.tolist()})
        ids, targets, starts = [], [], []
        for row in rows:
            i, t, s = [], [], []
            for e in row:
                s += [len(i)] * (lengths[e] - 1)
                i += examples[e]["ids"][:-1]
                t += examples[e]["labels"][1:]
            s += range(len(i), window)
            t += [IGNORED] * (window - len(i))
            i += [pad] * (window - len(i))
            ids.append(i), targets.append(t), starts.append(s)
        ids, targets, starts = (torch.tensor(x) for x in (ids, targets, starts))
        place = torch.arange(window).expand_as(starts)
        seen = (starts[:, :, None] == starts[:, None, :]) & (place[:, :, None] >= place[:, None, :])
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]

        def mean_loss(logits, targets):
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

        logits = model(input_ids=ids, attention_mask=mask, position_ids=place - starts, use_cache=False).logits
        loss = mean_loss(logits, targets)
        loss.backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters()}
        # The same examples, one per row, so that nothing can be seen across.
        model.zero_grad()
        alone, count = 0.0, int((targets != IGNORED).sum())
        for e in examples:
            lone = model(input_ids=torch.tensor([e["ids"][:-1]]), use_cache=False).logits
            wanted = torch.tensor([e["labels"][1:]])
            part = mean_loss(lone, wanted) * (wanted != IGNORED).sum() / count
            part.backward()
            alone += part.item()
        worst = max(float((p.grad - gradients[n]).abs().max()) for n, p in model.named_parameters())
        # And naively, each row as one text: the numbers must differ.
        naive = mean_loss(model(input_ids=ids, use_cache=False).logits, targets).item()
        assert abs(alone - loss.item()) < 1e-5 and worst < 1e-5, (alone, loss.item(), worst)
        assert abs(naive - loss.item()) > 1e-3, (naive, loss.item())
        logprobs = torch.log_softmax(logits, -1).gather(-1, targets.clamp(min=0)[:, :, None])[:, :, 0]
        norms = {n: g.double().norm().item() for n, g in gradients.items()}
        out[name] = {
            "window": window, "pad": pad, "rows": rows, "examples": examples,
            "ids": ids.tolist(), "targets": targets.tolist(), "starts": starts.tolist(),
            "trained": count, "loss": loss.item(), "loss_naive": naive,
            # 0 where the token is not trained.
            "logprobs": torch.where(targets != IGNORED, logprobs, 0.0).tolist(),
            "grad_norms": norms, "grad_norm": sum(n * n for n in norms.values()) ** 0.5,
            # The first and last four values of each gradient, flattened.
            "grads": {n: torch.cat([g.flatten()[:4], g.flatten()[-4:]]).tolist() for n, g in gradients.items()},
            "check": {"alone": abs(alone - loss.item()), "grads": worst},
        }
        print(f"{name}: loss {loss.item():.6f}, alone {alone:.6f}, naive {naive:.6f}, gradients differ by {worst:.1e}")
    out["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    write("packed_step.json", rounded(out))


def rounded(value):
    """Floats with the nine digits that fix a float32."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def write(name, value):
    target = HERE / name
    target.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(target.name, target.stat().st_size, "bytes")


if __name__ == "__main__":
    if sys.argv[1:] == ["--step"]:
        step()
    elif sys.argv[1:]:
        sys.exit("make_chat.py [--step]   (--step needs torch, numpy and safetensors)")
    else:
        texts = render()
        cases = [{"messages": m, "text": t} for m, t in zip(CONVERSATIONS, texts, strict=True)]
        write("chat.json", {"conversations": cases, "char": trained_here("char"), "bpe": trained_here("bpe"), "grown": grown()})
