"""Heads in a few products, against autograd on each head alone."""

import pytest
import torch
from torch.nn import functional

from transmeta.training.heads import head_logits, loss_and_slope, write_head_gradients

HEADS, EXAMPLES, FEATURES, CLASSES = 6, 5, 4, 3
RUNS = (slice(0, 1), slice(1, 4), slice(4, 6))


def heads(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(HEADS, CLASSES, FEATURES, generator=generator, dtype=torch.float64)
    bias = torch.randn(HEADS, CLASSES, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (HEADS, EXAMPLES), generator=generator)
    shares = torch.rand(HEADS, EXAMPLES, generator=generator, dtype=torch.float64)
    return weight, bias, labels, shares


def read(kind):
    """Returns (what the heads are given, runs, what each of them reads)."""
    x = torch.randn(HEADS, EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "own":
        return x, (), x
    if kind == "shared":
        return x[:1], (slice(0, HEADS),), x[:1].expand(HEADS, -1, -1)
    parts = [x[index].expand(run.stop - run.start, -1, -1) for index, run in enumerate(RUNS)]
    return x[: len(RUNS)], RUNS, torch.cat(parts)


@pytest.mark.parametrize("kind", ["own", "shared", "runs"])
def test_loss_and_gradients_are_those_of_each_head_alone(kind):
    weight, bias, labels, shares = heads()
    x, runs, each = read(kind)
    gradients = torch.empty_like(weight), torch.empty_like(bias)
    losses, slope = loss_and_slope(head_logits(x, weight, bias, runs=runs), labels, shares=shares)
    write_head_gradients(slope, x, *gradients, runs=runs)
    for head in range(HEADS):
        own = weight[head].clone().requires_grad_(), bias[head].clone().requires_grad_()
        logits = functional.linear(each[head], *own)
        loss = (functional.cross_entropy(logits, labels[head], reduction="none") * shares[head]).sum()
        torch.testing.assert_close(losses[head], loss.detach(), rtol=1e-12, atol=1e-12)
        for gradient, wanted in zip(gradients, torch.autograd.grad(loss, own), strict=True):
            torch.testing.assert_close(gradient[head], wanted, rtol=1e-12, atol=1e-12)


def test_features_that_all_share_need_no_runs():
    weight, bias, _, _ = heads()
    x, runs, _ = read("shared")
    torch.testing.assert_close(head_logits(x[0], weight, bias), head_logits(x, weight, bias, runs=runs))


def test_a_class_that_a_head_does_not_have_gets_no_gradient():
    weight, bias, labels, shares = heads()
    logits = head_logits(read("own")[0], weight, bias)
    logits[:, -1] = -torch.inf
    losses, slope = loss_and_slope(logits, labels.clamp(max=CLASSES - 2), shares=shares)
    assert losses.isfinite().all()
    assert not slope[:, -1].any()
