"""Makes tests/golden/tokenizer.json: both kinds of tokenizer built independently of danlu with
Hugging Face's packages, opened by transformers' AutoTokenizer, and the ids it gives.

The Rust test asserts that danlu trains the very same files on the same texts and gives the same ids.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.2 transformers==5.23.0
    /tmp/venv/bin/python tests/golden/make_tokenizer.py
"""

import json
import tempfile
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

SPECIAL = ["<|endoftext|>", "<|pad|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PLAIN = [
    "The fox walked home. The fox said nothing at all, and the bird sang.\n\nThe fox didn't sleep; 2026 birds sang.",
    "春天来了，小雨推开窗户，发现院子里的柳树变绿了。",
]
HEAVY = ["春晓　孟浩然\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"]
ASKED = [
    "",
    "春眠不觉晓，",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "The fox said: we'll see!  Two  spaces,\ttab\r\nand\n\nlines   ",
    "龘靐 héllo \U0001F600 \u0000 \u0301",
    "<0x41> <|endoftext|><|user|>hi<|im_end|><|assistant|>",
    "a" * 300,
    "鸟" * 50,
]


def char(vocab_size):
    weighted = Counter()
    for texts, weight in ((PLAIN, 1.0), (HEAVY, 3.0)):
        for text in texts:
            for c in text:
                weighted[c] += weight
    ranked = sorted(weighted, key=lambda c: (-weighted[c], c))
    tokens = SPECIAL + [f"<0x{b:02X}>" for b in range(256)] + ranked
    vocab = {token: i for i, token in enumerate(tokens[:vocab_size])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return tokenizer


def bpe(vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(PLAIN + HEAVY, trainer)
    return tokenizer


def config():
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 256,
        "bos_token": None,
        "eos_token": SPECIAL[0],
        "pad_token": SPECIAL[1],
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "added_tokens_decoder": {str(i): {"content": s, **flags} for i, s in enumerate(SPECIAL)},
    }


def golden(tokenizer, vocab_size):
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config()))
        # Beside a Llama config the class must still be the one the tokenizer's own config names.
        Path(folder, "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
        auto = AutoTokenizer.from_pretrained(folder)
        assert (auto.eos_token_id, auto.pad_token_id) == (0, 1), auto
        assert auto.encode("".join(SPECIAL)) == list(range(len(SPECIAL)))
        cases = []
        for text in ASKED:
            # danlu encodes text that spells a special token as plain text.
            ids = auto.encode(text, add_special_tokens=False, split_special_tokens=True)
            decoded = auto.decode(ids)
            assert decoded == text, (decoded, text)
            cases.append({"ids": ids, "decoded": decoded})
        return {
            "vocab_size": vocab_size,
            "tokenizer": json.loads(Path(folder, "tokenizer.json").read_text()),
            "tokenizer_config": config(),
            "cases": cases,
        }


if __name__ == "__main__":
    out = {"plain": PLAIN, "heavy": HEAVY, "asked": ASKED, "char": golden(char(300), 300), "bpe": golden(bpe(300), 300)}
    target = Path(__file__).with_name("tokenizer.json")
    target.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size)
