"""``vaekit.embed`` and ``vae embed``: the posterior of each image, as a table or as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vaekit.core.arguments import checked
from vaekit.core.errors import DataError
from vaekit.data import ImageSet
from vaekit.evaluation.latents.encodings import Encodings, encode_images
from vaekit.experiment.selection import Selection, select
from vaekit.export.tables import ARRAYS, TABLES, Columns, check_suffix, write_arrays, write_table
from vaekit.runs.run_folder import RunFolder
from vaekit.training import find_device

FORMATS = (*TABLES, ARRAYS)
"""The suffixes of files that an embedding can be written to."""


@dataclass(frozen=True)
class Embedding:
    """The posteriors of the N images of a set.

    Arguments:
        images: The images.
        encodings: Their posteriors.
        selection: The images with the split of each; None if it is not known.
    """

    images: ImageSet
    encodings: Encodings
    selection: Selection | None = None

    @property
    def selected(self) -> Selection:
        """The images with the split of each."""
        return self.selection or Selection(self.images, (self.images.split,) * len(self.images))

    def columns(self) -> Columns:
        """Returns the columns ``name``, ``split``, with labels ``label`` and ``class``, ``mean_0`` ..., ``stddev_0`` ...."""
        classes = {} if self.images.labels is None else class_columns(self.images)
        arrays = {"mean": self.encodings.means.numpy(), "stddev": self.encodings.stddevs.numpy()}
        latents = {f"{key}_{index}": column for key, array in arrays.items() for index, column in enumerate(array.T)}
        return {"name": image_names(self.images), "split": self.selected.splits, **classes, **latents}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns ``means`` and ``stddevs`` of shape (N, D), ``names`` and ``splits`` of shape (N), and classes, if any.

        Then ``labels`` are int64 of shape (N), and ``classes[label]`` is the name of a class.
        """
        arrays = {
            "means": self.encodings.means.numpy(),
            "stddevs": self.encodings.stddevs.numpy(),
            "names": np.array(image_names(self.images)),
            "splits": np.array(self.selected.splits),
        }
        if self.images.labels is None:
            return arrays
        return arrays | {"labels": self.images.labels.cpu().numpy(), "classes": np.array(self.images.class_names)}

    @checked(DataError)
    def write(self, path: str | Path) -> None:
        """Writes a table (``.csv``, ``.parquet``) or arrays (``.npz``), depending on the suffix of the path.

        Raises:
            DataError: If the suffix is not supported.
        """
        path = Path(path)
        check_suffix(path, FORMATS)
        if path.suffix.lower() == ARRAYS:
            write_arrays(self.arrays(), path)
        else:
            write_table(self.columns(), path)


@checked(DataError)
def embed(
    run: RunFolder | str | Path, data: str | Path | None = None, *, split: str | None = None, device: str = "cpu"
) -> Embedding:
    """Encodes images by a run's model.

    Arguments:
        run: A run, its folder, a model folder, or a hub id.
        data: The images: a name, folder, array or hub id; by default those that the run was trained on.
        split: ``train``, ``test`` or ``all``; by default all images, or the test images of data that has its own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        VaekitError: If the run, the images or the device are missing.

    Example:
        >>> embedding = vaekit.embed("runs/mnist-conv")
        >>> embedding.encodings.means.shape
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    selection = select(folder, data, split)
    encodings = encode_images(folder.model.to(find_device(device)), selection.images)
    return Embedding(selection.images, encodings, selection)


def image_names(images: ImageSet, rows: Tensor | None = None) -> list[str]:
    """Returns the name of each image: that of its file, or ``image N`` with its number, which ``rows`` may give."""
    numbers = range(len(images)) if rows is None else rows.tolist()
    return list(images.names) or [f"image {number}" for number in numbers]


def class_columns(images: ImageSet) -> dict[str, Sequence[object]]:
    """Returns the columns ``label`` and ``class``, the number and the name of the class; empty cells without labels."""
    if images.labels is None:
        return {"label": [None] * len(images), "class": [None] * len(images)}
    labels, names = images.labels.tolist(), images.class_names
    return {"label": labels, "class": [names[label] if label < len(names) else str(label) for label in labels]}
