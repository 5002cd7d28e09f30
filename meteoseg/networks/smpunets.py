"""UNets with encoders of segmentation-models-pytorch. Loaded only where one is built: the library takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from meteoseg.networks.fusion import ByModality


def unet(
    encoder: str, decoder_channels: Sequence[int], *, planes: int, classes: int, weights: str | bool | None
) -> nn.Module:
    """Make a UNet with one encoder for all input planes."""
    made: nn.Module = smp.Unet(
        encoder_name=encoder,
        encoder_weights=weights,
        decoder_channels=decoder_channels,
        in_channels=planes,
        classes=classes,
    )
    return made


class TwoEncoderUnet(nn.Module):
    """A UNet with one segmentation-models-pytorch encoder per modality, summed as in `SummedEncoders`; one decoder.

    Parameters
    ----------
    planes : modality -> planes of the image, as `modality_planes` returns them.
    encoder, weights : a segmentation-models-pytorch encoder and its pretrained weights, or None.
    decoder_channels : widths of the decoder, coarsest level first.
    classes : planes of the output.

    Examples
    --------
    >>> import torch
    >>> unet = TwoEncoderUnet({"bse": [0], "elements": [1, 2]}, "tu-mobilenetv3_small_100", (16, 8, 8, 8, 8), classes=4)
    >>> tuple(unet.eval()(torch.zeros(1, 3, 64, 32)).shape)
    (1, 4, 64, 32)
    """

    def __init__(
        self,
        planes: Mapping[str, list[int]],
        encoder: str,
        decoder_channels: Sequence[int],
        *,
        classes: int,
        weights: str | bool | None = None,
    ) -> None:
        super().__init__()
        depth = len(decoder_channels)

        def make_encoder(n_planes: int) -> nn.Module:
            made: nn.Module = smp.encoders.get_encoder(encoder, in_channels=n_planes, depth=depth, weights=weights)
            return made

        self.encoders = ByModality(planes, make_encoder)
        widths = next(iter(self.encoders.branches.values())).out_channels
        self.decoder = UnetDecoder(encoder_channels=widths, decoder_channels=decoder_channels, n_blocks=depth)
        self.segmentation_head = smp.base.SegmentationHead(decoder_channels[-1], classes, kernel_size=3)
        initialize_decoder(self.decoder)
        initialize_head(self.segmentation_head)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) normalised channels to (B, K, H, W) logits; H and W multiples of 32."""
        first, second = self.encoders.parts(image)
        # The finest "features" are the input planes themselves, of which the decoder takes only the size.
        joined = [image, *(one + other for one, other in zip(first[1:], second[1:], strict=True))]
        logits: Tensor = self.segmentation_head(self.decoder(joined))
        return logits
