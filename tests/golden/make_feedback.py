"""Makes tests/golden/feedback.json: the mathematics of human feedback in PyTorch, with gradients by autograd.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch transformers==5.23.0 numpy safetensors
    /tmp/venv/bin/python tests/golden/make_feedback.py

Its parts, each with inputs and what PyTorch answers:
  gae, whiten, kl_rewards   as in TRL's PPO trainer, on padded rows with a mask; answers are listed without padding
  policy                    the clipped loss and its gradient, for PPO and for GRPO's ways of averaging and its KL term
  value                     the clipped value loss and its gradient
  groups                    GRPO's normalised scores
  reward, dpo               the pairwise losses and their gradients
  score                     transformers' LlamaForSequenceClassification on padded rows, over the trunks of the cases that
                            make.py wrote: scores, a pairwise loss, gradients, and one step of AdamW
  step                      one PPO step of the same cases' LlamaForCausalLM: log-probabilities, entropies, loss,
                            gradients, and one step of AdamW
Everything is recomputed in float64, and nothing is written unless both agree.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

HERE = Path(__file__).resolve().parent
PAD, IGNORED = 1, -100
ADAMW = {"learning_rate": 1e-3, "betas": [0.9, 0.95], "eps": 1e-5, "weight_decay": 0.1, "clip": 1.0}


# --- TRL's own lines (trl/trainer/utils.py, trl/experimental/ppo), for padded rows -----------------------------------


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum()


def masked_var(values, mask):
    centered = values - masked_mean(values, mask)
    return masked_mean(centered**2, mask) * mask.sum() / (mask.sum() - 1)


def masked_whiten(values, mask, shift_mean):
    mean, var = masked_mean(values, mask), masked_var(values, mask)
    whitened = (values - mean) * torch.rsqrt(var + 1e-8)
    return whitened if shift_mean else whitened + mean


def padded_gae(rewards, values, gamma, lam):
    last, reversed_advantages, length = 0, [], rewards.shape[1]
    for t in reversed(range(length)):
        next_values = values[:, t + 1] if t < length - 1 else 0.0
        delta = rewards[:, t] + gamma * next_values - values[:, t]
        last = delta + gamma * lam * last
        reversed_advantages.append(last)
    advantages = torch.stack(reversed_advantages[::-1], dim=1)
    return advantages, advantages + values


# --- helpers ---------------------------------------------------------------------------------------------------------


def pad(flat, lengths):
    """Rows of a flat list, zeros behind them, and the mask."""
    rows, at, width = [], 0, max(lengths)
    for n in lengths:
        rows.append(torch.cat([flat[at : at + n], flat.new_zeros(width - n)]))
        at += n
    mask = torch.tensor([[float(i < n) for i in range(width)] for n in lengths], dtype=flat.dtype)
    return torch.stack(rows), mask


def flat(rows, lengths):
    return torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)])


def both(make):
    """The result of `make` in float32; in float64 it must be the same."""

    def leaves(value):
        if isinstance(value, dict):
            return [x for v in value.values() for x in leaves(v)]
        if isinstance(value, list):
            return [x for v in value for x in leaves(v)]
        return [float(value)] if isinstance(value, float) else []

    single, double = make(torch.float32), make(torch.float64)
    a, b = np.array(leaves(single)), np.array(leaves(double))
    gap = float(np.max(np.abs(a - b) / (1.0 + np.abs(b)), initial=0.0))
    assert len(a) and gap < 2e-5, gap
    return single, gap


def normal(rng, n, scale=1.0, shift=0.0):
    return (rng.standard_normal(n) * scale + shift).astype(np.float32).tolist()


# --- the losses ------------------------------------------------------------------------------------------------------


def losses(dtype):
    rng = np.random.default_rng(7)
    tensor = lambda values: torch.tensor(values, dtype=dtype)
    lengths = [5, 1, 8, 3, 12]
    n = sum(lengths)
    old, reference = normal(rng, n, 1.0, -2.5), normal(rng, n, 1.0, -2.5)
    # Moves on both sides of the clip range and within it.
    new = (np.float32(old) + np.float32(rng.choice([-0.6, -0.3, -0.1, 0.0, 0.05, 0.15, 0.3, 0.7], n))).tolist()
    advantages, values, scores = normal(rng, n), normal(rng, n), normal(rng, len(lengths), 2.0)
    out = {"lengths": lengths, "old": old, "new": new, "reference": reference, "advantages": advantages,
           "values": values, "scores": scores}

    beta = 0.15
    rewards, mask = pad(-beta * (tensor(old) - tensor(reference)), lengths)
    for row, (length, score) in enumerate(zip(lengths, tensor(scores), strict=True)):
        rewards[row, length - 1] += score
    kl, _ = pad(tensor(old) - tensor(reference), lengths)
    out["kl_rewards"] = {"beta": beta, "rewards": flat(rewards, lengths).tolist(), "kl": kl.sum(1).tolist()}

    out["gae"] = []
    for gamma, lam in ((1.0, 0.95), (0.97, 0.9), (1.0, 1.0), (0.9, 0.0)):
        got, returns = padded_gae(rewards, pad(tensor(values), lengths)[0], gamma, lam)
        out["gae"].append({"gamma": gamma, "lambda": lam, "advantages": flat(got, lengths).tolist(),
                           "returns": flat(returns, lengths).tolist()})
    out["whiten"] = {}
    for shift in (True, False):
        whitened = masked_whiten(pad(tensor(values), lengths)[0] * 3 + 2, mask, shift)
        out["whiten"]["shifted" if shift else "kept"] = flat(whitened, lengths).tolist()

    def policy(low, high, kl, mean):
        leaf = tensor(new).requires_grad_()
        rows, mask = pad(leaf, lengths)
        change = rows - pad(tensor(old), lengths)[0]
        ratio, a = change.exp(), pad(tensor(advantages), lengths)[0]
        first, second = -a * ratio, -a * torch.clamp(ratio, 1.0 - low, 1.0 + high)
        token = torch.max(first, second)
        d = pad(tensor(reference), lengths)[0] - rows
        k3 = torch.exp(d) - d - 1
        if kl:
            token = token + kl * k3
        if mean == "tokens":
            loss = masked_mean(token, mask)
        elif mean == "answers":
            loss = ((token * mask).sum(1) / mask.sum(1)).mean()
        else:
            loss = (token * mask).sum() / (len(lengths) * max(lengths))
        loss.backward()
        return {"clip_low": low, "clip_high": high, "kl": kl, "mean": mean, "loss": loss.item(),
                "gradient": leaf.grad.tolist(), "clip_fraction": masked_mean((second > first).to(dtype), mask).item(),
                "approx_kl": 0.5 * masked_mean(change**2, mask).item(), "old_kl": masked_mean(-change, mask).item(),
                "reference_kl": masked_mean(k3, mask).item(), "ratio": masked_mean(ratio, mask).item()}

    out["policy"] = [policy(0.2, 0.2, 0.0, "tokens"), policy(0.2, 0.28, 0.04, "tokens"),
                     policy(0.2, 0.2, 0.1, "answers"), policy(0.1, 0.1, 0.0, "fixed"), policy(10.0, 10.0, 0.0, "tokens")]
    assert 0.2 < out["policy"][0]["clip_fraction"] < 0.8

    out["value"] = []
    returns = tensor(out["gae"][0]["returns"]).tolist()
    for clip in (0.2, 0.5):
        leaf = tensor((np.float32(values) + np.float32(normal(np.random.default_rng(8), n, 0.5))).tolist())
        leaf.requires_grad_()
        before, target = tensor(values), tensor(np.float32(returns).tolist())
        clipped = torch.clamp(leaf, before - clip, before + clip)
        first, second = (leaf - target) ** 2, (clipped - target) ** 2
        loss = 0.5 * torch.max(first, second).mean()
        loss.backward()
        out["value"].append({"clip": clip, "new": leaf.tolist(), "returns": target.tolist(), "loss": loss.item(),
                             "gradient": leaf.grad.tolist(), "clip_fraction": (second > first).to(dtype).mean().item()})

    grouped = tensor(normal(rng, 12, 2.0) + [0.5] * 4).view(4, 4)
    spread = grouped.std(1, keepdim=True)
    out["groups"] = {"size": 4, "scores": grouped.flatten().tolist(),
                     "scaled": ((grouped - grouped.mean(1, keepdim=True)) / (spread + 1e-4)).flatten().tolist(),
                     "plain": (grouped - grouped.mean(1, keepdim=True)).flatten().tolist()}

    chosen, rejected, margins = normal(rng, 6, 1.5), normal(rng, 6, 1.5), np.abs(normal(rng, 6)).tolist()
    out["reward"] = {"chosen": chosen, "rejected": rejected, "margins": margins, "cases": []}
    for use, centre in ((False, 0.0), (True, 0.0), (True, 0.01), (False, 0.5)):
        w, l = tensor(chosen).requires_grad_(), tensor(rejected).requires_grad_()
        lead = w - l - tensor(margins) if use else w - l
        loss = -F.logsigmoid(lead).mean() + centre * ((w + l) ** 2).mean()
        loss.backward()
        out["reward"]["cases"].append({"margin": use, "centre": centre, "loss": loss.item(), "dchosen": w.grad.tolist(),
                                       "drejected": l.grad.tolist()})
    # What LLMBook's code 8.1 excerpts, as printed: BCE of the difference with labels 0. It is the inverted preference.
    w, l = tensor(chosen).requires_grad_(), tensor(rejected).requires_grad_()
    loss = F.binary_cross_entropy_with_logits(w - l, torch.zeros(6, dtype=dtype))
    loss.backward()
    out["reward"]["labels_0"] = {"loss": loss.item(), "dchosen": w.grad.tolist()}

    sums = [normal(rng, 6, 4.0, -20.0) for _ in range(4)]
    out["dpo"] = {"sums": sums, "cases": []}
    for beta, smooth in ((0.1, 0.0), (0.5, 0.1)):
        w, l, rw, rl = (tensor(s).requires_grad_() for s in sums)
        logits = (w - l) - (rw - rl)
        loss = (-F.logsigmoid(beta * logits) * (1 - smooth) - F.logsigmoid(-beta * logits) * smooth).mean()
        loss.backward()
        rewards = [(beta * (a - b)).detach() for a, b in ((w, rw), (l, rl))]
        out["dpo"]["cases"].append({
            "beta": beta, "label_smoothing": smooth, "loss": loss.item(), "dchosen": w.grad.tolist(),
            "drejected": l.grad.tolist(), "rewards/chosen": rewards[0].mean().item(),
            "rewards/rejected": rewards[1].mean().item(), "rewards/margins": (rewards[0] - rewards[1]).mean().item(),
            "rewards/accuracies": (rewards[0] > rewards[1]).to(dtype).mean().item()})
    return out


# --- models ----------------------------------------------------------------------------------------------------------


def l2(tensors):
    return math.sqrt(sum(float(t.double().pow(2).sum()) for t in tensors))


def ends(tensors):
    """The first and last four values of each tensor, flattened."""
    return {n: torch.cat([t.flatten()[:4], t.flatten()[-4:]]).tolist() for n, t in tensors.items()}


def learn(model):
    """Gradients as they are, and the parameters after one step of AdamW."""
    named = dict(model.named_parameters())
    gradients = {n: p.grad.clone() for n, p in named.items()}
    before = {n: p.detach().clone() for n, p in named.items()}
    groups = [{"params": [p for p in named.values() if p.dim() >= 2], "weight_decay": ADAMW["weight_decay"]},
              {"params": [p for p in named.values() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=ADAMW["learning_rate"], betas=ADAMW["betas"], eps=ADAMW["eps"])
    total = float(torch.nn.utils.clip_grad_norm_(list(named.values()), ADAMW["clip"]))
    optimizer.step()
    after = {n: p.detach() for n, p in named.items()}
    return {"grad_norm": total, "grad_norms": {n: l2([g]) for n, g in gradients.items()}, "grads": ends(gradients),
            "after": ends(after), "moved": {n: l2([after[n] - before[n]]) for n in after}}


def score(name, seed, dtype):
    """Six answers of different lengths as padded rows; the first three are preferred to the last three."""
    rng = np.random.default_rng(seed)
    model = LlamaForSequenceClassification.from_pretrained(
        HERE / name, num_labels=1, pad_token_id=PAD, attn_implementation="eager", dtype=torch.float32)
    # transformers' initial values are not fixed; the trunk is the case's.
    head = np.float32(rng.standard_normal((1, model.config.hidden_size)) * 0.3)
    model.score.weight.data = torch.from_numpy(head)
    model = model.to(dtype).eval()
    width, lengths = 20, [20, 13, 7, 4, 20, 11]
    ids = torch.full((len(lengths), width), PAD)
    for row, n in enumerate(lengths):
        ids[row, :n] = torch.from_numpy(rng.integers(2, model.config.vocab_size, n))
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    pooled = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0]
    every = model.score(model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state)[..., 0]
    last = every[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
    assert torch.equal(last, pooled), "transformers pools elsewhere"
    chosen, rejected = pooled[:3], pooled[3:]
    loss = -F.logsigmoid(chosen - rejected).mean() + 0.01 * ((chosen + rejected) ** 2).mean()
    loss.backward()
    rows = [row[:n].tolist() for row, n in zip(every.detach(), lengths, strict=True)]
    return {"head": head[0].tolist(), "window": width, "pad": PAD, "lengths": lengths, "ids": ids.tolist(),
            "scores": pooled.tolist(), "every": rows, "centre": 0.01, "loss": loss.item()} | learn(model)


def step(name, seed, dtype):
    """Four rows of a prompt and an answer; old log-probabilities close to the policy's, some beyond the clip range."""
    rng = np.random.default_rng(seed)
    model = LlamaForCausalLM.from_pretrained(HERE / name, attn_implementation="eager", dtype=torch.float32)
    model = model.to(dtype).eval()
    width, spans = 32, [(6, 12), (10, 9), (3, 20), (20, 11)]
    ids = torch.full((len(spans), width), PAD)
    targets = torch.full((len(spans), width), IGNORED)
    for row, (prompt, answer) in enumerate(spans):
        text = torch.from_numpy(rng.integers(2, model.config.vocab_size, prompt + answer))
        ids[row, : prompt + answer] = text
        targets[row, prompt - 1 : prompt + answer - 1] = text[prompt:]
    log_p = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
    acted = targets != IGNORED
    new = log_p.gather(-1, targets.clamp(min=0)[..., None])[..., 0][acted]
    entropies = -(log_p.exp() * log_p).sum(-1)[acted]
    n = int(acted.sum())
    # Far from the policy's own, and rounded, so that both precisions have the same.
    shift = rng.choice([-0.5, -0.1, 0.0, 0.1, 0.5], n)
    old = torch.tensor(np.round(new.detach().double().numpy() + shift, 3), dtype=dtype)
    advantages = torch.tensor(np.round(rng.standard_normal(n), 3), dtype=dtype)
    ratio = (new - old).exp()
    loss = torch.max(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)).mean()
    loss.backward()
    return {"window": width, "ids": ids.tolist(), "targets": targets.tolist(), "old": old.tolist(),
            "advantages": advantages.tolist(), "clip": 0.2, "logprobs": new.tolist(), "entropies": entropies.tolist(),
            "loss": loss.item()} | learn(model)


def pairs(name, seed, dtype):
    """DPO: two preferred answers, then two others; the reference's sums are given."""
    rng = np.random.default_rng(seed)
    model = LlamaForCausalLM.from_pretrained(HERE / name, attn_implementation="eager", dtype=torch.float32)
    model = model.to(dtype).eval()
    width, spans, beta = 32, [(6, 12), (10, 9), (6, 20), (10, 11)], 0.1
    ids = torch.full((len(spans), width), PAD)
    targets = torch.full((len(spans), width), IGNORED)
    for row, (prompt, answer) in enumerate(spans):
        text = torch.from_numpy(rng.integers(2, model.config.vocab_size, prompt + answer))
        ids[row, : prompt + answer] = text
        targets[row, prompt - 1 : prompt + answer - 1] = text[prompt:]
    log_p = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
    token = log_p.gather(-1, targets.clamp(min=0)[..., None])[..., 0] * (targets != IGNORED)
    sums = token.sum(1)
    reference = torch.tensor(np.round(sums.detach().double().numpy() + rng.standard_normal(4) * 5, 2), dtype=dtype)
    lead = (sums - reference)[:2] - (sums - reference)[2:]
    loss = -F.logsigmoid(beta * lead).mean()
    loss.backward()
    return {"window": width, "ids": ids.tolist(), "targets": targets.tolist(), "beta": beta, "sums": sums.tolist(),
            "reference": reference.tolist(), "loss": loss.item()} | learn(model)


def ptx(name, seed, dtype):
    """PPO-ptx: the clipped loss of one batch, and coefficient times the language model's loss of another."""
    rng = np.random.default_rng(seed)
    model = LlamaForCausalLM.from_pretrained(HERE / name, attn_implementation="eager", dtype=torch.float32)
    model = model.to(dtype).eval()
    width, coefficient = 32, 0.3
    texts = torch.from_numpy(rng.integers(2, model.config.vocab_size, (2, 4, width + 1)))
    log_p = [model(input_ids=t[:, :-1], use_cache=False).logits.log_softmax(-1) for t in texts]
    of = [p.gather(-1, t[:, 1:, None])[..., 0].flatten() for p, t in zip(log_p, texts, strict=True)]
    advantages = torch.tensor(np.round(rng.standard_normal(of[0].numel()), 3), dtype=dtype)
    ratio = (of[0] - of[0].detach()).exp()
    policy = torch.max(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2)).mean()
    language = -of[1].mean()
    (policy + coefficient * language).backward()
    return {"window": width, "texts": texts.tolist(), "advantages": advantages.tolist(), "coefficient": coefficient,
            "policy": policy.item(), "language": language.item()} | learn(model)


def rounded(value):
    """Floats with the nine digits that fix a float32."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out, gaps = {}, {}
    out["losses"], gaps["losses"] = both(losses)
    for kind, make in (("score", score), ("step", step), ("pairs", pairs), ("ptx", ptx)):
        out[kind] = {}
        for name, seed in (("gqa_untied", 21), ("tied", 22)):
            out[kind][name], gaps[f"{kind}/{name}"] = both(lambda dtype: make(name, seed, dtype))
    out["adamw"] = ADAMW
    out["check"] = gaps
    out["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    target = HERE / "feedback.json"
    target.write_text(json.dumps(rounded(out), separators=(",", ":")) + "\n")
    print(target.name, target.stat().st_size, "bytes;", ", ".join(f"{k} {v:.1e}" for k, v in gaps.items()))
