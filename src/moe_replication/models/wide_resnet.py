"""Wide residual network (Zagoruyko and Komodakis 2016) to a feature vector: paper B's vision encoder.

Legend: N images, C channels, F feature width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from moe_replication.config.sections import WideResNetConfig


class Norm(nn.BatchNorm2d):
    """Batch norm of (N, C, H, W) in float32 whatever the precision of the weights; the result has x's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """DeepSpeed casts parameters and leaves the running statistics in float32, which batch_norm refuses."""
        if self.training:
            self.num_batches_tracked.add_(1)
        weight, bias = self.weight.float(), self.bias.float()
        mean, variance = self.running_mean, self.running_var
        return F.batch_norm(x.float(), mean, variance, weight, bias, self.training, self.momentum, self.eps).to(x.dtype)


class ResidualBlock(nn.Module):
    """BN-ReLU-conv3x3 twice, dropout between, identity or 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = Norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = Norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.dropout = dropout
        same = stride == 1 and channels_in == channels_out
        self.shortcut = None if same else nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H/stride, W/stride)."""
        h = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(h)
        h = F.relu(self.norm2(self.conv1(h)))
        h = F.dropout(h, self.dropout, training=self.training and self.dropout > 0)
        return self.conv2(h) + shortcut


class WideResNet(nn.Module):
    """WRN-depth-widen without its classifier: images to F features."""

    def __init__(self, config: WideResNetConfig, image_channels: int) -> None:
        super().__init__()
        blocks_per_group = (config.depth - 4) // 6
        self.stem = nn.Conv2d(image_channels, config.base_channels, 3, padding=1, bias=False)
        channels, blocks = config.base_channels, []
        for group, stride in enumerate((1, 2, 2)):
            width = config.base_channels * 2**group * config.widen
            for block in range(blocks_per_group):
                blocks.append(ResidualBlock(channels, width, stride if block == 0 else 1, config.dropout))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = Norm(channels)
        self.project = nn.Linear(channels, config.feature_width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) normalised images -> (N, F)."""
        h = F.relu(self.norm(self.blocks(self.stem(images))))
        return self.project(h.mean(dim=(2, 3)))
