"""Train a network on sections with known labels: data, augmentation, losses, loop."""

from meteoseg.train.config import TrainConfig, read_config
from meteoseg.train.loop import train

__all__ = ["TrainConfig", "read_config", "train"]
