"""One training step of a Llama-layout decoder in PyTorch: what `danlu bench` measures, for comparison.

    python3 torch_step.py --mode fp32|tf32|bf16|bf16-compile|bf16-graphs [the flags of `danlu bench`]

Forward, loss, backward, clipping to 1.0 and AdamW on random tokens, embeddings tied, on the first CUDA
device (on the CPU if there is none). The last line is one JSON object: tokens_per_second, ms_per_step,
loss, and the largest memory taken. Steps are timed in windows of five, after a warm-up that covers
compilation; the figure is the median.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

MODES = ("fp32", "tf32", "bf16", "bf16-compile", "bf16-graphs")
WINDOW = 5


class Block(nn.Module):
    def __init__(self, hidden, heads, ffn):
        super().__init__()
        self.heads = heads
        self.input_norm = nn.Parameter(torch.ones(hidden))
        self.post_norm = nn.Parameter(torch.ones(hidden))
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.o = nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x, cos, sin):
        rows, length, hidden = x.shape
        y = F.rms_norm(x, (hidden,), self.input_norm, 1e-5)
        q, k, v = self.qkv(y).view(rows, length, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attended.transpose(1, 2).reshape(rows, length, hidden))
        y = F.rms_norm(x, (hidden,), self.post_norm, 1e-5)
        gate, up = self.gate_up(y).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.embed = nn.Embedding(args.vocab, args.hidden)
        self.blocks = nn.ModuleList(Block(args.hidden, args.heads, args.ffn) for _ in range(args.layers))
        self.norm = nn.Parameter(torch.ones(args.hidden))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0.0, 0.02)
        size = args.hidden // args.heads
        frequency = 1.0 / 10000.0 ** (torch.arange(0, size, 2) / size)
        angle = torch.outer(torch.arange(args.ctx).float(), frequency)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        x = F.rms_norm(x, (x.size(-1),), self.norm, 1e-5)
        logits = F.linear(x, self.embed.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default="fp32")
    for flag, default in [
        ("layers", 4),
        ("hidden", 128),
        ("heads", 4),
        ("ffn", 384),
        ("ctx", 128),
        ("vocab", 4096),
        ("batch", 32),
        ("steps", 20),
        ("seed", 0),
    ]:
        parser.add_argument(f"--{flag}", type=int, default=default)
    return parser.parse_args()


def main():
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("highest" if args.mode == "fp32" else "high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    model = Model(args).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=device == "cuda"
    )
    run = model
    if args.mode == "bf16-compile":
        run = torch.compile(model)
    elif args.mode == "bf16-graphs":
        run = torch.compile(model, mode="reduce-overhead")
    batches = torch.randint(0, args.vocab, (8, 2, args.batch, args.ctx), device=device)

    def step(i):
        ids, targets = batches[i % len(batches)]
        if args.mode == "bf16-graphs":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(device, torch.bfloat16, enabled=args.mode.startswith("bf16")):
            loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    for i in range(12):
        loss = step(i)
    wait()
    times = []
    for window in range(max(3, args.steps // WINDOW)):
        start = time.perf_counter()
        for i in range(WINDOW):
            loss = step(window * WINDOW + i)
        wait()
        times.append((time.perf_counter() - start) / WINDOW)
    seconds = statistics.median(times)
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    print(
        json.dumps(
            {
                "engine": f"torch {torch.__version__}",
                "adapter": torch.cuda.get_device_name() if device == "cuda" else "cpu",
                "precision": args.mode,
                "params": sum(p.numel() for p in model.parameters()),
                "tokens_per_second": args.batch * args.ctx / seconds,
                "ms_per_step": seconds * 1e3,
                "loss": loss.item(),
                "memory_bytes": memory,
            }
        )
    )


if __name__ == "__main__":
    main()
