"""Writes edges.json beside itself: what transformers does at the edges of a text, by tokenizers of the kinds that
models are published with, each with the ids of texts, of a conversation, and of decoded continuations.

    python3 -m venv /tmp/edges && /tmp/edges/bin/pip install 'transformers>=5' jinja2
    /tmp/edges/bin/python tests/golden/make_edges.py

No torch is needed. Every tokenizer is a small BPE model made here; transformers reads it with AutoTokenizer.
"""

import json
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
WORDS = ["the", "lake", "was", "walk", "tea", "ed"]
TEXTS = ["the lake was", " the lake", "tea", "the  lake\nwas tea ", "春 tea", "walked", "<s> the lake </s>"]
TURNS = [{"role": "system", "content": "tea"}, {"role": "user", "content": "the lake was"},
         {"role": "assistant", "content": " walked the lake"}, {"role": "user", "content": "tea 春"}]
TEMPLATE = (HERE.parent.parent / "src/data/chat/chat_template.jinja").read_text()
SPECIAL = ["<s>", "</s>", "[CLS]", "[SEP]", "<|pad|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def special(t):
    return {"SpecialToken": {"id": t, "type_id": 0}}


A = {"Sequence": {"id": "A", "type_id": 0}}
B = {"Sequence": {"id": "B", "type_id": 1}}


def template(before, behind=()):
    ids = {t: {"id": t, "ids": [SPECIAL.index(t)], "tokens": [t]} for t in [*before, *behind]}
    single = [*map(special, before), A, *map(special, behind)]
    return {"type": "TemplateProcessing", "single": single, "pair": [*single, B], "special_tokens": ids}


def byte_level(prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}


def metaspace(scheme):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False}


PREPEND = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
SENTENCE = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                             {"type": "ByteFallback"}, {"type": "Fuse"},
                                             {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
ROBERTA = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": True,
           "add_prefix_space": False}
BERT = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}

# name: space of the vocabulary, normalizer, pre-tokenizer, post-processor, decoder, tokenizer_config
KINDS = {
    "llama3": ("Ġ", None, byte_level(), {"type": "Sequence", "processors": [byte_level(), template(["<s>"])]}, byte_level(), {}),
    "two": ("Ġ", None, byte_level(), template(["[CLS]", "<s>"]), byte_level(), {}),
    "eos": ("Ġ", None, byte_level(), template(["<s>"], ["</s>"]), byte_level(), {}),
    "roberta": ("Ġ", None, byte_level(True), ROBERTA, byte_level(True), {}),
    "bert": ("Ġ", None, byte_level(), BERT, byte_level(), {"eos_token": "[SEP]", "bos_token": "[CLS]"}),
    "none": ("Ġ", None, byte_level(), byte_level(), byte_level(), {"add_bos_token": True}),
    "flag": ("Ġ", None, byte_level(), template(["<s>"]), byte_level(), {"add_bos_token": False, "tokenizer_class": "LlamaTokenizer"}),
    "legacy": ("▁", PREPEND, None, template(["<s>"]), SENTENCE, {"add_bos_token": True}),
    # For this class transformers 5 builds a tokenizer that treats a conversation differently from the file.
    "llama": ("▁", PREPEND, None, template(["<s>"]), SENTENCE, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}),
    "first": ("▁", None, metaspace("first"), template(["<s>"]), SENTENCE, {}),
    "always": ("▁", None, metaspace("always"), template(["<s>"]), SENTENCE, {}),
    "never": ("▁", None, metaspace("never"), None, SENTENCE, {}),
}


def vocabulary(space):
    """Byte tokens, letters, and merges for every word with and without a space before it."""
    if space == "Ġ":
        table = {**{b: chr(b) for b in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]}}
        rest = [b for b in range(256) if b not in table]
        table.update({b: chr(0x100 + n) for n, b in enumerate(rest)})
        tokens = [table[b] for b in range(256)]
    else:
        tokens = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *sorted(set("".join(WORDS)))]
    merges = []
    for word in [w for w in WORDS] + [space + w for w in WORDS]:
        done = word[0]
        for letter in word[1:]:
            if done + letter not in tokens:
                tokens.append(done + letter)
                merges.append([done, letter])
            done += letter
    return tokens, merges


def build(space, normalizer, words, post, decoder, config, folder):
    tokens, merges = vocabulary(space)
    vocab = {t: i for i, t in enumerate([*SPECIAL, *tokens])}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(SPECIAL)]
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>" if space == "▁" else None,
             "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": space == "▁",
             "byte_fallback": space == "▁", "ignore_merges": False, "vocab": vocab, "merges": merges}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": words, "post_processor": post, "decoder": decoder, "model": model}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
              "pad_token": "<|pad|>", **config}
    (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return file, config


def cases(kind):
    with tempfile.TemporaryDirectory() as name:
        file, config = build(*KINDS[kind], Path(name))
        tokenizer = AutoTokenizer.from_pretrained(name)
    ids = lambda text: tokenizer(text, split_special_tokens=True)["input_ids"]
    texts = [{"text": t, "ids": ids(t)} for t in TEXTS]
    begin = ids("")[: 2 if kind == "two" else 1 if "template" in str(file["post_processor"]).lower() or kind in ("roberta", "bert") else 0]
    first = "".join(tokenizer.convert_ids_to_tokens(begin))
    chat = tokenizer.apply_chat_template(TURNS, chat_template=first + TEMPLATE, add_generation_prompt=True,
                                         tokenize=True, return_dict=False)
    prompt = tokenizer.apply_chat_template(TURNS[:2], chat_template=first + TEMPLATE, add_generation_prompt=True,
                                           tokenize=True, return_dict=False)
    # The continuation of a prompt is the whole text minus the prompt.
    follows = []
    for before, after in [(ids("the lake was"), " walked"), (prompt, " walked the lake"), (prompt, "tea")]:
        while before and config["eos_token"] == tokenizer.convert_ids_to_tokens(before[-1]):
            before = before[:-1]
        word = tokenizer.convert_tokens_to_ids([KINDS[kind][0] + "walk", "ed"]) if after[0] == " " else tokenizer.convert_tokens_to_ids(["tea"])
        whole = tokenizer.decode([*before, *word], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        start = tokenizer.decode(before, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert whole.startswith(start)
        follows.append({"before": before, "ids": word, "text": whole[len(start):]})
    return {"tokenizer": file, "tokenizer_config": config, "begin": begin, "texts": texts, "chat": chat, "follows": follows}


made = {"turns": TURNS, "kinds": {kind: cases(kind) for kind in KINDS}}
(HERE / "edges.json").write_text(json.dumps(made, ensure_ascii=False, separators=(",", ":")) + "\n")
for kind, case in made["kinds"].items():
    print(kind, case["begin"], case["texts"][0]["ids"], case["chat"][:8], [f["text"] for f in case["follows"]])
