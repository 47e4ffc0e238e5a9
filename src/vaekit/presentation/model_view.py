"""A model with the images it is shown on, and the labels that a class-conditional model needs."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from vaekit.core.arguments import NumOrZero, checked
from vaekit.core.errors import DataError, ModelError
from vaekit.core.safe_text import MAX_NAME, listing, printable
from vaekit.data import Fitting, ImageSet, is_image_shape
from vaekit.data.preparing import read_image_files
from vaekit.evaluation.latents.encodings import Encodings, encode_images
from vaekit.models import Model
from vaekit.plots.channel_choice import Channels, check_channels
from vaekit.plots.channels import num_tiles
from vaekit.plots.look import DEFAULT, Look
from vaekit.plots.style import count

SHOWN_SEED = 0
"""The seed of the random images that are shown. The first ones of a set would be of one class, if it is sorted by class."""


class ModelView:
    """A model and a set of images, whose posteriors are computed once.

    Arguments:
        model: The model.
        images: The images, as the model saw them in training; usually the test split. Samples need none.
        fitting: How image files are fitted to the model's shape.
        channels: The channels that plots show: one as gray, as ``4``, or three as red, green and blue, as ``(3, 2, 1)``. By
            default gray and color images are shown as they are, and images of other numbers of channels channel by channel.
        look: How images are drawn.

    Raises:
        ModelError: If the model is not of images.
        ConfigError: If the images do not have the channels.
    """

    @checked(ModelError)
    def __init__(
        self,
        model: Model,
        images: ImageSet | None = None,
        fitting: Fitting | None = None,
        channels: Channels | None = None,
        look: Look = DEFAULT,
    ) -> None:
        if not is_image_shape(model.shape):
            raise ModelError(
                f"the model is of data of shape {tuple(model.shape)}, and only images are shown; "
                "use model.sample(num), model.encode(x) and model.decode(z)"
            )
        self.model = model
        if images is not None and tuple(images.shape) != tuple(model.shape):
            raise ModelError(f"the model is of shape {tuple(model.shape)}, and the images of shape {images.shape}")
        self._images = images
        self.fitting = fitting or Fitting()
        self.channels = channels
        self.look = look
        check_channels(channels, model.shape[0])

    @property
    def images(self) -> ImageSet:
        """The images.

        Raises:
            DataError: If there are none.
        """
        if self._images is None:
            raise DataError("this plot needs images: Gallery(model, images)")
        return self._images

    @property
    def num_tiles(self) -> int:
        """The number of tiles that an image is shown as: 1, or the number of channels."""
        return num_tiles(self.model.shape[0], self.channels)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes of the images, by label; empty if there are no images or no labels."""
        return () if self._images is None else self._images.class_names

    @cached_property
    def encodings(self) -> Encodings:
        """The posteriors of all images."""
        return encode_images(self.model, self.images)

    @checked(ModelError)
    def labels(self, names: Sequence[str], num: NumOrZero) -> Tensor | None:
        """Returns labels of shape (num): the named classes in turn, or all classes in turn if none is named.

        Raises:
            ModelError: If classes are named and the model is not class-conditional.
            DataError: If there is no such class.

        Returns:
            The labels, or None if the model is not class-conditional.
        """
        condition = self.model.condition
        if condition is None:
            if names:
                raise ModelError("the model is not conditional, so it takes no --label; train one with --conditional")
            return None
        chosen = torch.tensor([condition.index(name) for name in names or condition.classes])
        return chosen[torch.arange(num) % len(chosen)]

    @checked(ModelError)
    def file_labels(self, names: Sequence[str], num: int) -> Tensor | None:
        """Returns the labels of image files, with shape (num): one class for all, or one for each.

        Raises:
            ModelError: If the model is class-conditional and no class is named, or the number of classes is wrong.
            DataError: If there is no such class.

        Returns:
            The labels, or None if the model is not class-conditional.
        """
        if self.model.condition is not None and num and not names:
            known = listing(self.model.condition.classes)
            raise ModelError(f"the model is conditional: name the class with --label (known: {known})")
        if len(names) > 1 and len(names) != num:
            raise ModelError(f"{len(names)} labels for {count(num, 'images')}; give one for all or one for each")
        return self.labels(names, num)

    def labels_of(self, images: ImageSet) -> Tensor | None:
        """Returns the labels of images of the set; None if the model is not class-conditional."""
        return None if self.model.condition is None else images.labels

    @checked(DataError)
    def read_files(self, paths: Sequence[str | Path]) -> Tensor:
        """Reads image files as uint8 of shape (N, C, H, W), fitted to the model's shape.

        Raises:
            DataError: If a file does not exist, is no image, or has other channels than the model's images.
        """
        channels, height, width = self.model.shape
        return read_image_files([Path(path) for path in paths], (channels, height, width), self.fitting)

    def describe_images(self) -> str:
        """Returns the number, the split and the name of the images, e.g. ``10,000 test images of mnist``."""
        return (
            f"{count(len(self.encodings.means), f'{self.images.split} images')} of {printable(self.images.name, MAX_NAME)}"
        )

    @checked(ModelError)
    def describe_latent(self, latent: NumOrZero) -> str:
        """Returns the name of a latent, its layer if there are several, and its mean KL if the KL is a sum over latents."""
        rates, names = self.encodings.rates, self.model.layer_names
        layer = bisect_right(list(accumulate(self.model.layer_sizes)), latent)
        name = f"z{latent} · layer {layer + 1}, {names[layer]}" if names else f"z{latent}"
        return f"{name} · {rates[latent]:.2f} nats" if len(rates) == self.model.latent_dim else name

    @checked(ModelError)
    def latents_of(self, layer: NumOrZero | None) -> range:
        """Returns the latents of a stochastic layer, from 1 at the top; all for None.

        Raises:
            ModelError: If there is no such layer.
        """
        sizes = self.model.layer_sizes
        if layer is None:
            return range(self.model.latent_dim)
        if not 1 <= layer <= len(sizes):
            raise ModelError(f"layer {layer}: the model has {len(sizes)}, from 1 at the top; choose one of them")
        begin = sum(sizes[: layer - 1])
        return range(begin, begin + sizes[layer - 1])
