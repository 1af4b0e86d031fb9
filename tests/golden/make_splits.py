"""Makes tests/golden/splits.json: a small BPE tokenizer of each published way to split texts into words, and hashes of the
ids that transformers gives to the texts of tests/fixtures/texts.json.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers==0.23.3 transformers==5.24.0
    /tmp/venv/bin/python tests/golden/make_splits.py

The vocabularies are trained here on these texts. `check_imported.py` puts the same tokenizers under
random weights and compares danlu's GGUF files with llama.cpp.
"""

import json
import tempfile
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TEXTS = json.loads((ROOT / "tests/fixtures/texts.json").read_text())

GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
GPT4 = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
LING = GPT4.replace("{1,3}", "")
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SEED = SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
MINICPM = LLAMA3.replace("{1,3}", "+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
FRONT = r"[^\r\n\p{L}\p{N}]?"
SLASHED = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = f"{FRONT}{UPPER}*{LOWER}+{SHORT}?|{FRONT}{UPPER}+{LOWER}*{SHORT}?|" + r"\p{N}{1,3}" + SLASHED
TEKKEN = f"{FRONT}{UPPER}*{LOWER}+|{FRONT}{UPPER}+{LOWER}*|" + r"\p{N}" + SLASHED
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u0800-一가-\ud7ff]+"]
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(*patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDS = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
DIGITS = pre_tokenizers.Digits(individual_digits=True)
NFC = normalizers.NFC()
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]

# name: pre-tokenizers, normalizer, settings of the model
BYTE_LEVEL = {
    "gpt2": ([WORDS], None, {}),
    "gpt2_pattern": ([*split(GPT2), LEVEL], None, {}),
    "llama3": ([*split(LLAMA3), LEVEL], None, {"ignore_merges": True}),
    "llama3_merging": ([*split(LLAMA3), LEVEL], None, {}),
    "gpt4": ([*split(GPT4), LEVEL], None, {}),
    "ling": ([*split(LING), LEVEL], None, {}),
    "qwen2": ([*split(QWEN2), LEVEL], NFC, {}),
    "qwen2_plain": ([*split(QWEN2), LEVEL], None, {}),
    "qwen35": ([*split(QWEN35), LEVEL], NFC, {}),
    "seed_coder": ([*split(SEED), LEVEL], None, {}),
    "minicpm": ([*split(MINICPM), LEVEL], None, {}),
    "minicpm5": ([*split(r"\p{N}{1,3}", MINICPM), LEVEL], None, {"ignore_merges": True}),
    "gpt4o": ([*split(GPT4O), LEVEL], None, {}),
    "tekken": ([*split(TEKKEN), LEVEL], None, {"ignore_merges": True}),
    "deepseek_v3": ([*split(*DEEPSEEK), LEVEL], None, {}),
    "deepseek_coder": ([*split(*CODER), DIGITS, LEVEL], None, {}),
    "smollm": ([DIGITS, WORDS], None, {}),
    "falcon": ([pre_tokenizers.Punctuation("contiguous"), WORDS, pre_tokenizers.Digits(False), *split("[0-9][0-9][0-9]")], None, {}),
    "bloom": ([*split(BLOOM), LEVEL], None, {}),
}
# name: normalizer, pre-tokenizer, whether the merges are all that SentencePiece would make
PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
SPACES = normalizers.Replace(" ", "▁")
SENTENCE_PIECE = {
    "llama2": (PREPEND, None, True),
    "llama2_trained": (PREPEND, None, False),
    "metaspace_first": (None, pre_tokenizers.Metaspace("▁", "first", False), True),
    "metaspace_always": (None, pre_tokenizers.Metaspace("▁", "always", False), True),
    "metaspace_never": (None, pre_tokenizers.Metaspace("▁", "never", False), True),
    "gemma": (SPACES, None, True),
}
KINDS = [*BYTE_LEVEL, *SENTENCE_PIECE]


def byte_level(kind, size=600):
    parts, normalizer, settings = BYTE_LEVEL[kind]
    tok = Tokenizer(models.BPE(**settings))
    tok.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if normalizer:
        tok.normalizer = normalizer
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet)
    tok.train_from_iterator(TEXTS, trainer)
    begin, special = "<|begin_of_text|>", ["<|endoftext|>", "<|begin_of_text|>", "<|im_start|>", "<|im_end|>"]
    tok.add_special_tokens(special)
    tok.add_tokens(["<mark>"])
    if kind.startswith("llama3"):
        tok.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tok.token_to_id(begin))])
    return tok, {"eos_token": "<|endoftext|>", "bos_token": begin}


def sentence_piece(kind, size=1700):
    normalizer, words, whole = SENTENCE_PIECE[kind]
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if normalizer:
        tok.normalizer = normalizer
    if words:
        tok.pre_tokenizer = words
    tok.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    named = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=named + BYTES, max_token_length=12)
    tok.train_from_iterator([line for text in TEXTS for line in text.splitlines()], trainer)
    file = json.loads(tok.to_str())
    file["added_tokens"] = [added for added in file["added_tokens"] if added["content"] in named]
    if whole:
        # As transformers writes SentencePiece's models: every two tokens that make a third, by the third's place.
        vocab = file["model"]["vocab"]
        merges = [(vocab[token], vocab[token[:at]], vocab[token[at:]], token[:at], token[at:])
                  for token in vocab if token not in named and token not in BYTES
                  for at in range(1, len(token)) if token[:at] in vocab and token[at:] in vocab]
        file["model"]["merges"] = [[left, right] for *_, left, right in sorted(merges)]
    tok = Tokenizer.from_str(json.dumps(file))
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tok.token_to_id("<s>"))])
    return tok, {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}


def write(kind, folder):
    """The two files of a tokenizer, as their contents."""
    tok, named = (byte_level if kind in BYTE_LEVEL else sentence_piece)(kind)
    file, config = json.loads(tok.to_str()), {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    Path(folder, "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False))
    Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
    return file, config


def fnv(ids):
    """FNV-1a over the ids as 32-bit integers."""
    hashed = 0xCBF29CE484222325
    for byte in b"".join(id.to_bytes(4, "little") for id in ids):
        hashed = (hashed ^ byte) * 0x100000001B3 % (1 << 64)
    return f"{hashed:016x}"


def main():
    from transformers import AutoTokenizer

    out = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            file, config = write(kind, folder)
            auto = AutoTokenizer.from_pretrained(folder)
        ids = [auto(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in TEXTS]
        out[kind] = {"tokenizer": file, "tokenizer_config": config, "ids": [fnv(row) for row in ids]}
        print(kind, len(auto), "tokens,", sum(map(len, ids)), "ids")
    target = HERE / "splits.json"
    target.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(target.name, target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
