"""Trains a stage of a danlu run with transformers, TRL and accelerate, in one process or many.

    python train.py                          one GPU, or the CPU
    torchrun --nproc-per-node 8 train.py     eight GPUs of one machine; README.md has the command for two machines

Written by `danlu export --for trl`; --help lists the options. handover.json says what is trained. out/ gets danlu's own
log, checkpoints and, at the end, out/model for `danlu import`; `danlu watch` on this folder shows the training.
"""

import json, math
from danlu_handover import EACH, H, HERE, P, STAGE, START, WORLD, Log, Shards, arguments, finish, stop
import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments


def rate(step):
    """danlu's learning rate of a step counted from 0. The warm-up of transformers begins at 0, which is one step late."""
    peak, warmup, decay = P["learning_rate"], P["warmup_steps"], P["decay_steps"]
    if step < warmup:
        return peak * (step + 1) / warmup
    if P["lr_scheduler_type"] == "wsd":
        part = max(P["schedule_steps"] - step, 0) / decay if decay else 1.0
        return peak * min(max(part, 1 / max(decay, 1)), 1.0)
    if P["lr_scheduler_type"] == "cosine":
        part = min((step - warmup) / max(P["schedule_steps"] - warmup, 1), 1.0)
        return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * part)))
    return peak


class AsInDanlu:
    """danlu's optimizer and schedule, for every trainer: decay on matrices, the embedding among them, none on norms."""

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            params = [p for p in (model or self.model).parameters() if p.requires_grad]
            decay = {"params": [p for p in params if p.dim() >= 2], "weight_decay": P["weight_decay"]}
            none = {"params": [p for p in params if p.dim() < 2], "weight_decay": 0.0}
            betas = (P["adam_beta1"], P["adam_beta2"])
            self.optimizer = torch.optim.AdamW([decay, none], lr=1.0, betas=betas, eps=P["adam_epsilon"], fused=torch.cuda.is_available())
        return self.optimizer

    def create_scheduler(self, num_training_steps, optimizer=None):
        if self.lr_scheduler is None:
            schedule = lambda step: rate(START + step // EACH)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, schedule)
        return self.lr_scheduler

    def _clip_grad_norm(self, model):
        if torch.cuda.is_available() or P["max_grad_norm"] <= 0:
            return super()._clip_grad_norm(model)
        # On the CPU torch adds the squares of a large gradient with an error of 3e-5, which clipping puts on every weight.
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        norm = torch.stack([torch.linalg.vector_norm(grad, dtype=torch.float64) for grad in grads]).norm()
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), P["max_grad_norm"], norm.float())
        return norm


class Rows(torch.utils.data.Dataset):
    """Rows as danlu draws them, in the order of its steps: ids; the target of each (-100: not learned), the row's last
    one among them; and the place in the row at which the example of each begins."""

    def __init__(self, *names):
        self.parts = [np.load(HERE / name, mmap_mode="r") for name in names]
        self.ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self):
        return int(self.ends[-1])

    def __getitem__(self, at):
        part = int(np.searchsorted(self.ends, at, side="right"))
        ids, targets, starts = torch.from_numpy(self.parts[part][at - int(self.ends[part])].astype(np.int64))
        row = {"input_ids": ids, "labels": targets, "shift_labels": targets}
        if H["packed"]:  # the examples of a row do not see one another, and each counts its own positions
            row["position_ids"] = torch.arange(len(ids)) - starts
        return row


def collate(rows):
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def load(cls, folder):
    # The weights and moments are f32; --bf16 computes the products of a step in bf16, and nothing else.
    return cls.from_pretrained(HERE / folder, dtype=torch.float32, attn_implementation="sdpa")


def text_trainer(common, log):
    """pretrain and sft: danlu's own rows, so that every loss can be compared with danlu's."""
    # With a cache transformers drops the mask between the examples of a row; a loss is the mean over all processes.
    args = TrainingArguments(**common, remove_unused_columns=False, average_tokens_across_devices=True, use_cache=False)
    data = Shards() if H["shards"] else Rows(*sorted(name for name in H["files"] if name.startswith("rows/rows-")))
    log.held_out = Rows, collate
    trainer = type("TextTrainer", (AsInDanlu, Trainer), {})
    return trainer(model=load(AutoModelForCausalLM, "model"), args=args, train_dataset=data, data_collator=collate, callbacks=[log])


def messages(name, order=None):
    """Pairs or prompts, in the order in which danlu's steps draw them; `weight` is 0 where a step draws fewer."""
    from datasets import load_dataset

    data = load_dataset("json", data_files=str(HERE / name), split="train", cache_dir=str(HERE / "out" / "cache"))
    if isinstance(data[0]["prompt"], str):
        stop(f"{name} has prompts that are strings, to which TRL applies no chat template; expected lists of messages")
    if order is None:
        return data.add_column("weight", [1.0] * len(data))
    order = np.load(HERE / order)
    if STAGE == "reward":
        order = np.pad(order, ((0, 0), (0, -order.shape[1] % WORLD)), constant_values=-1)
    drawn = (order >= 0).sum(1, keepdims=True)
    last = np.take_along_axis(order, drawn - 1, 1)
    data = data.select(np.where(order >= 0, order, last).flatten().tolist())
    return data.add_column("weight", ((order >= 0) * (order.shape[1] / drawn)).flatten().tolist())


def preference_trainer(common, log):
    """reward and dpo: the pairs that danlu's steps draw, through TRL; grpo: danlu's prompts, with answers of its own."""
    import trl
    from trl.trainer.reward_trainer import DataCollatorForPreference

    tokenizer = AutoTokenizer.from_pretrained(HERE / "model")
    common |= dict(remove_unused_columns=False, activation_checkpointing=False)
    if STAGE == "grpo":
        ends = json.loads((HERE / "model" / "generation_config.json").read_text())["eos_token_id"]
        unfinished = lambda completion_ids, **_: [0.0 if ids[-1] in ends else -P["missing_eos_penalty"] for ids in completion_ids]
        unfinished.__name__ = "unfinished"
        args = trl.GRPOConfig(
            **common, steps_per_generation=P["num_mini_batches"], num_iterations=P["num_iterations"], num_generations=P["num_generations"],
            max_completion_length=P["response_length"], beta=P["beta"], epsilon=P["epsilon"], epsilon_high=P["epsilon_high"],
            loss_type=P["loss_type"], scale_rewards="group" if P["scale_rewards"] else "none", temperature=1.0, shuffle_dataset=False)
        judge = dict(reward_funcs=[load(AutoModelForSequenceClassification, "reward"), unfinished],
                     reward_processing_classes=[AutoTokenizer.from_pretrained(HERE / "reward"), None])
        trainer = type("GrpoTrainer", (AsInDanlu, trl.GRPOTrainer), {})
        return trainer(model=load(AutoModelForCausalLM, "model"), args=args, train_dataset=messages("prompts.jsonl"), processing_class=tokenizer, callbacks=[log], **judge)
    if P["eval_steps"]:
        common |= dict(eval_strategy="steps", eval_steps=P["eval_steps"], per_device_eval_batch_size=common["per_device_train_batch_size"])
    common |= dict(max_length=None)
    data = dict(train_dataset=messages("preferences.jsonl", "rows/order.npy"), eval_dataset=messages("heldout.jsonl"))
    if STAGE == "dpo":
        trainer = type("DpoTrainer", (AsInDanlu, trl.DPOTrainer), {})
        args = trl.DPOConfig(**common, beta=P["beta"])
        return trainer(model=load(AutoModelForCausalLM, "model"), args=args, processing_class=tokenizer, callbacks=[log], **data)

    class Collator(DataCollatorForPreference):
        def torch_call(self, examples):
            return {**super().torch_call(examples), "weight": torch.tensor([example["weight"] for example in examples])}

    class RewardTrainer(AsInDanlu, trl.RewardTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            weight = inputs.pop("weight")
            outputs = model(**inputs, use_cache=False)
            chosen, rejected = outputs.logits.squeeze(-1).float().chunk(2)
            figures = {"accuracy": (chosen > rejected).float(), "margin": chosen - rejected, "mean_reward": (chosen + rejected) / 2}
            seen = self._metrics["train" if model.training else "eval"]
            for name, figure in figures.items():
                seen[name].append(self.accelerator.gather((weight * figure.detach()).mean().reshape(1)).mean().item())
            scores = self.accelerator.gather(outputs.logits.detach())
            seen["min_reward"].append(scores.min().item()), seen["max_reward"].append(scores.max().item())
            centre = P["center_rewards_coefficient"] if model.training else 0.0
            each = -F.logsigmoid(chosen - rejected) + centre * (chosen + rejected) ** 2
            loss = (weight * each).mean()
            return (loss, outputs) if return_outputs else loss

    return RewardTrainer(model=load(AutoModelForSequenceClassification, "model"), args=trl.RewardConfig(**common), processing_class=tokenizer,
                         callbacks=[log], data_collator=Collator(pad_token_id=tokenizer.pad_token_id), **data)


def main():
    a, common = arguments(__doc__)
    log = Log(a, rate)
    trainer = (text_trainer if STAGE in ("pretrain", "sft") else preference_trainer)(common, log)
    trainer.train(resume_from_checkpoint=a.resume or None)
    finish(trainer, log)


if __name__ == "__main__":
    main()
