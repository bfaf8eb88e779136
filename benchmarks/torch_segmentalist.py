"""The plain Segmentalist in PyTorch, to compare steps with: ``train.py --compare torch``.

Channels last, compiled; with mixed_bfloat16 under autocast.
"""

# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from measuring import Meter, peak_rss_mib
from torch import Tensor, nn
from torch.nn import functional


def conv_norm(given: int, filters: int, kernel: int, *, act: bool) -> nn.Sequential:
    """Return convolution, batch norm and, if asked for, ReLU."""
    conv = nn.Conv2d(given, filters, kernel, padding=kernel // 2, bias=False)
    parts = [conv, nn.BatchNorm2d(filters, eps=1e-3, momentum=0.1)]
    return nn.Sequential(*parts, *([nn.ReLU()] if act else []))


class Block(nn.Module):
    """3×3 f/2, 3×3 f, 1×1 f (or 3×3 f twice), and a projection where the channels change."""

    def __init__(self, given: int, filters: int, kind: str) -> None:
        super().__init__()
        self.shortcut = (
            conv_norm(given, filters, 1, act=False) if given != filters else nn.Identity()
        )
        if kind == "basic":
            first = conv_norm(given, filters, 3, act=True)
            self.residual = nn.Sequential(first, conv_norm(filters, filters, 3, act=False))
        else:
            self.residual = nn.Sequential(
                conv_norm(given, filters // 2, 3, act=True),
                conv_norm(filters // 2, filters, 3, act=True),
                conv_norm(filters, filters, 1, act=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + residual(x))."""
        return functional.relu(self.shortcut(x) + self.residual(x))


def blocks(given: int, filters: int, kind: str, count: int) -> nn.Sequential:
    """Return `count` blocks, the first of which changes the channels."""
    first = Block(given, filters, kind)
    return nn.Sequential(first, *(Block(filters, filters, kind) for _ in range(count - 1)))


class Plain(nn.Module):
    """The plain design: max-pool, concatenated skips, bilinear doubling."""

    def __init__(
        self,
        *,
        block: str = "bottleneck",
        layer_blocks: int = 2,
        last_decoder_layer_blocks: int = 2,
        initial_filters: int = 64,
        residual_filters: Sequence[int] = (128, 256, 512, 1024),
        initial_kernel_size: int = 7,
    ) -> None:
        super().__init__()
        widths = (initial_filters, *residual_filters)
        self.stem = conv_norm(3, initial_filters, initial_kernel_size, act=True)
        self.encoder = nn.ModuleList(blocks(a, b, block, layer_blocks) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(
            blocks(b + a, a, block, layer_blocks if level else last_decoder_layer_blocks)
            for level, (a, b) in enumerate(pairwise(widths))
        )
        self.head = nn.Conv2d(initial_filters, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, 1, h, w)`` of ``(B, 3, h, w)``; h and w divide by 2 per stage."""
        found = [self.stem(x)]
        for stage in self.encoder:
            found.append(stage(functional.max_pool2d(found[-1], 2)))
        x = found.pop()
        for stage, skip in zip(reversed(self.decoder), reversed(found), strict=True):
            double = functional.interpolate(x, scale_factor=2.0, mode="bilinear")
            x = stage(torch.cat([double, skip], dim=1))
        return self.head(x)


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss `bce_dice` where nothing is ignored."""
    p = torch.sigmoid(logits)
    pixel = functional.binary_cross_entropy_with_logits(logits, target)
    return pixel + 1 - (2 * (p * target).sum() + 2) / (p.sum() + target.sum() + 2)


def train(
    design: dict[str, Any], x: np.ndarray, y: np.ndarray, steps: int, precision: str
) -> dict[str, Any]:
    """Take `steps` steps on one batch, twice; return what the second round cost."""
    device, half = "cuda" if torch.cuda.is_available() else "cpu", precision == "mixed_bfloat16"
    model = Plain(**design).to(device).to(memory_format=torch.channels_last)
    forward = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).to(device)  # strides stay channels-last
    target = torch.from_numpy(y).permute(0, 3, 1, 2).float().to(device)
    meters = [Meter(), Meter()]
    for meter in meters:
        with meter:
            for _ in range(steps):
                optimizer.zero_grad()
                with torch.autocast(device, torch.bfloat16, enabled=half):
                    logits = forward(images)
                loss = bce_dice(logits.float(), target)
                loss.backward()
                optimizer.step()
            loss.item()
    return {
        "n": len(x) * steps,
        "steps": steps,
        "wall_s": meters[1].wall,
        "cpu_s": meters[1].cpu,
        "first_epoch_s": meters[0].wall,
        "peak_rss_mib": peak_rss_mib(),
        "parameters": sum(p.numel() for p in model.parameters())
        + sum(b.numel() for name, b in model.named_buffers() if "running" in name),
    }
