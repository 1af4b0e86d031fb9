"""Writes the golden Llama cases beside itself, from Hugging Face transformers on the CPU in float32.

    python3 -m venv /tmp/torchenv && /tmp/torchenv/bin/pip install torch transformers safetensors numpy
    /tmp/torchenv/bin/python tests/golden/make.py

Each case is a folder with
    model.safetensors   random float32 weights under their Hugging Face names
    config.json         as transformers 5 writes it (rope_parameters); the case `tied` has also
                        config.rope_theta.json, the same model in transformers 4's spelling
    golden.json         the inputs and what LlamaForCausalLM (attention "eager") answers to them:
      input_ids [B][T]; labels [B][T], -100 = ignored (labels[t] is the target of position t-1);
      logprobs [B][T-1]     log p(token t+1 | tokens <= t)
      loss_all, loss        mean loss with labels = input_ids, and with `labels`
      grad_norms, grad_norm L2 norm of d loss / d tensor by tensor name, and of all of them together
      adamw                 `steps` steps of torch.optim.AdamW on this one batch; loss[i] and grad_norm[i] are
                            taken before update i and before clipping; weight decay acts only on tensors of two
                            dimensions or more (the embedding too); torch clips by max/(norm + 1e-6) if that is < 1
      greedy                prompts, and prompt + the most likely continuation; EOS does not stop it
      check                 how far transformers lies from the plain float64 model below (largest differences)
Everything is seeded, single-threaded and runs twice to the same bytes on one machine; another processor or version
of torch may differ in the last digits. Nothing is written unless every case passes the checks (`verify`).
"""

import json
import math
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
BETAS, EPS, DECAY, STEPS = (0.9, 0.95), 1e-8, 0.1, 20
MAX_NEW, MARGIN = 12, 2e-2  # greedy: tokens to add, and the least gap between the two best logits
# name: configuration, seed and spread of the weights, the batch's shape, learning rate, clip, prompt lengths.
# The seeds are chosen: with some, a few gradients of the size of Adam's eps make float32 runs differ by 1e-4 and more.
CASES = {
    "gqa_untied": dict(
        config=dict(vocab_size=97, hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=6,
                    num_key_value_heads=2, head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=False),
        theta=10000.0, seed=16, std=0.2, shape=(3, 17), lr=3e-3, clip=1.0, prompts=(4, 9)),
    "tied": dict(
        config=dict(vocab_size=131, hidden_size=32, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=4, head_dim=8, rms_norm_eps=1e-5, tie_word_embeddings=True),
        theta=500000.0, seed=36, std=0.2, shape=(2, 29), lr=2e-3, clip=1.0, prompts=(6, 3)),
    "head_dim": dict(  # hidden / heads = 8; transformers 5 insists that it is whole
        config=dict(vocab_size=113, hidden_size=40, intermediate_size=72, num_hidden_layers=2, num_attention_heads=5,
                    num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-6, tie_word_embeddings=False),
        theta=10000.0, seed=33, std=0.2, shape=(3, 17), lr=3e-3, clip=1.0, prompts=(1, 7)),
}


def build(case):
    """The case's model, with normal weights of spread `std` and norm weights around one."""
    config = LlamaConfig(**case["config"], max_position_embeddings=64, attn_implementation="eager", dtype="float32",
                         rope_parameters={"rope_type": "default", "rope_theta": case["theta"]},
                         bos_token_id=None, eos_token_id=None)
    model = LlamaForCausalLM(config).eval()
    rng = np.random.default_rng(case["seed"])
    for _, p in sorted(model.named_parameters()):
        w = rng.standard_normal(tuple(p.shape)) * (0.3 if p.dim() == 1 else case["std"]) + (p.dim() == 1)
        p.data = torch.from_numpy(w.astype(np.float32))
    return model


def make_batch(case):
    """Random rows; labels masked at row 0's start, in row 1's middle, at the last row's end, and here and there."""
    rng, (rows, length) = np.random.default_rng(case["seed"] + 1), case["shape"]
    ids = rng.integers(0, case["config"]["vocab_size"], (rows, length))
    labels = np.where(rng.random((rows, length)) < 0.08, -100, ids)
    labels[0, : length // 3] = -100
    labels[1, length // 2: length // 2 + 4] = -100
    labels[rows - 1, -2:] = -100
    return torch.from_numpy(ids), torch.from_numpy(labels)


def picked(logits, ids):
    """log p(token t+1 | tokens <= t) of the rows `ids`."""
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]


def norm(tensors):
    """The L2 norm of all the tensors together, summed in float64."""
    return math.sqrt(sum(float(t.double().pow(2).sum()) for t in tensors))


def train(params, loss_of, lr, clip):
    """STEPS AdamW steps on one batch: the loss and the gradient's norm before each update."""
    groups = [{"params": [p for p in params if p.dim() >= 2], "weight_decay": DECAY},
              {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0}]
    optimizer, losses, norms = torch.optim.AdamW(groups, lr=lr, betas=BETAS, eps=EPS), [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(params, clip)))
        losses.append(float(loss.detach()))
        optimizer.step()
    return losses, norms


@torch.no_grad()
def greedy(model, case):
    """Prompts, drawn until every step of every continuation is clear and they do not just repeat themselves."""
    rng, prompts, rows, least = np.random.default_rng(case["seed"] + 2), [], [], math.inf
    for length in case["prompts"]:
        while True:
            row, gap = rng.integers(0, case["config"]["vocab_size"], length).tolist(), math.inf
            for _ in range(MAX_NEW):
                top = model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1].topk(2)
                gap = min(gap, float(top.values[0] - top.values[1]))
                row.append(int(top.indices[0]))
            if gap > MARGIN and len(set(row[length:])) >= 6:
                break
        cached = model.generate(torch.tensor([row[:length]]), attention_mask=torch.ones(1, length, dtype=torch.long),
                                max_new_tokens=MAX_NEW, do_sample=False)
        assert cached[0].tolist() == row, "transformers' own cached generation disagrees"
        prompts, rows, least = [*prompts, row[:length]], [*rows, row], min(least, gap)
    return {"prompts": prompts, "max_new_tokens": MAX_NEW, "ids": rows, "least_margin": least}


def plain_logits(w, c, theta, ids):
    """A second opinion: Llama's logits from its equations, with tensors `w` by their Hugging Face names."""
    (rows, length), heads, kv, hd = ids.shape, c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    angle = torch.arange(length).double()[:, None] * theta ** (-torch.arange(0, hd, 2).double() / hd)
    cos, sin, future = angle.cos(), angle.sin(), torch.ones(length, length, dtype=torch.bool).triu(1)

    def rms(x, name):
        return x / (x.pow(2).mean(-1, keepdim=True) + c["rms_norm_eps"]).sqrt() * w[name + ".weight"]

    def split(x, n):
        return x.view(rows, length, n, hd).transpose(1, 2)

    def rotate(x):
        a, b = x[..., : hd // 2], x[..., hd // 2:]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    x = w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        y = rms(x, at + "input_layernorm")
        q, k, v = (split(y @ w[f"{at}self_attn.{n}_proj.weight"].T, m) for n, m in (("q", heads), ("k", kv), ("v", kv)))
        k, v = (t.repeat_interleave(heads // kv, 1) for t in (rotate(k), v))
        score = (rotate(q) @ k.transpose(-1, -2) / math.sqrt(hd)).masked_fill(future, -math.inf)
        mixed = (score.softmax(-1) @ v).transpose(1, 2).reshape(rows, length, heads * hd)
        x = x + mixed @ w[at + "self_attn.o_proj.weight"].T
        y = rms(x, at + "post_attention_layernorm")
        gate, up = (y @ w[f"{at}mlp.{n}_proj.weight"].T for n in ("gate", "up"))
        x = x + (gate * gate.sigmoid() * up) @ w[at + "mlp.down_proj.weight"].T
    return rms(x, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def verify(case, weights, golden):
    """Recomputes `golden` with the plain model in float64; returns the largest differences, or raises."""
    w = {n: t.double().requires_grad_() for n, t in weights.items()}
    ids, labels = torch.tensor(golden["input_ids"]), torch.tensor(golden["labels"])

    def logits(rows):
        return plain_logits(w, case["config"], case["theta"], rows)

    def loss_of(targets):
        return F.cross_entropy(logits(ids)[:, :-1].flatten(0, 1), targets[:, 1:].flatten())

    def far(a, b):
        return float(np.abs(np.asarray(a) - np.asarray(b)).max())

    assert golden["grad_norms"].keys() == w.keys()
    logprobs = picked(logits(ids).detach(), ids)
    loss_of(labels).backward()
    norms = [norm([w[n].grad]) for n in golden["grad_norms"]]
    gaps = {
        "logprobs": far(logprobs, golden["logprobs"]),
        "loss": max(far(loss_of(ids).item(), golden["loss_all"]), far(loss_of(labels).item(), golden["loss"])),
        "grad_norms_relative": far(np.array(list(golden["grad_norms"].values())) / norms, 1.0),
    }
    for prompt, row in zip(golden["greedy"]["prompts"], golden["greedy"]["ids"]):
        assert logits(torch.tensor([row]))[0, len(prompt) - 1: -1].argmax(-1).tolist() == row[len(prompt):]
    losses, norms = train(list(w.values()), lambda: loss_of(labels), case["lr"], case["clip"])
    gaps["adamw_loss"] = far(losses, golden["adamw"]["loss"])
    gaps["adamw_grad_norm"] = far(norms, golden["adamw"]["grad_norm"])
    assert max(gaps.values()) < 2e-5, gaps
    assert norms[0] > case["clip"], "clipping should be active at first"
    assert losses[-1] < 0.8 * losses[0] and logprobs.std() > 1.0, "a clear fall, and predictions far from uniform"
    return gaps


def text(value, indent=0):
    """JSON with one line per list of numbers; floats with the nine digits that fix a float32."""
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        inner = ",\n".join(f"{pad}{json.dumps(k)}: {text(v, indent + 1)}" for k, v in value.items())
        return "{\n" + inner + "\n" + " " * indent + "}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(pad + text(v) for v in value) + "\n" + " " * indent + "]"
    if isinstance(value, list):
        return "[" + ", ".join(map(text, value)) + "]"
    return repr(float(f"{value:.9g}")) if isinstance(value, float) else json.dumps(value)


def make(name, case, out):
    """Writes one case into the folder `out`."""
    model = build(case)
    model.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    (out / "model.safetensors").chmod(0o644)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    ids, labels = make_batch(case)
    with torch.no_grad():
        logprobs = picked(model(input_ids=ids).logits, ids).tolist()
        loss_all = model(input_ids=ids, labels=ids).loss.item()
    loss = model(input_ids=ids, labels=labels).loss
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    golden = {
        "input_ids": ids.tolist(), "labels": labels.tolist(), "logprobs": logprobs,
        "loss_all": loss_all, "loss": loss.item(),
        "grad_norms": {n: norm([g]) for n, g in gradients.items()}, "grad_norm": norm(gradients.values()),
        "greedy": greedy(model, case),  # before the training below changes the weights
    }
    lr, clip = case["lr"], case["clip"]
    losses, norms = train(list(model.parameters()), lambda: model(input_ids=ids, labels=labels).loss, lr, clip)
    golden["adamw"] = {"learning_rate": lr, "betas": list(BETAS), "eps": EPS, "weight_decay": DECAY, "clip": clip,
                       "steps": STEPS, "loss": losses, "grad_norm": norms}
    golden["check"] = gaps = verify(case, weights, golden)
    golden["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    (out / "golden.json").write_text(text(golden) + "\n")
    if name == "tied":
        old = json.loads((out / "config.json").read_text())
        theta = old.pop("rope_parameters")["rope_theta"]
        old |= {"rope_scaling": None, "rope_theta": theta, "torch_dtype": old.pop("dtype")}
        del old["transformers_version"]
        (out / "config.rope_theta.json").write_text(json.dumps(old, indent=2, sort_keys=True) + "\n")
    print(f"{name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, gradient {norms[0]:.3f} -> {norms[-1]:.3f},",
          f"margin {golden['greedy']['least_margin']:.3f};", ", ".join(f"{k} {v:.1e}" for k, v in gaps.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        for name, case in CASES.items():
            make(name, case, Path(scratch) / name)
        for name in CASES:  # all of them passed
            shutil.rmtree(HERE / name, ignore_errors=True)
            shutil.copytree(Path(scratch) / name, HERE / name)
