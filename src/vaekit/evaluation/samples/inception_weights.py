"""The weights of Inception-v3 that the FID is defined with, as safetensors from the Hugging Face Hub.

They are those of the TensorFlow graph of 2015-12-05 in the conversion of pytorch-fid (Apache-2.0). Only the file whose hash
is :data:`SHA256` is read.
"""

import hashlib
from pathlib import Path

import safetensors
from safetensors.torch import load_file

from vaekit.core.errors import DataError
from vaekit.data.sources import hub
from vaekit.evaluation.samples.inception_network import InceptionV3

REPOSITORY, FILE = "nikhilr01/sen-bridge-weights", "fid_inception.safetensors"
"""The repository on the Hugging Face Hub, and the file in it."""
SHA256 = "b7a528bf4051f62c057bc14657865abf180a23eb1748d00ff0933d84698202ed"
"""The hash of the file."""


def find_weights() -> Path:
    """Returns the path of the weights, in ``$VAEKIT_DATA`` if that folder holds them, otherwise downloaded from the Hub.

    Raises:
        DataError: If they cannot be downloaded, or the file is not the one that :data:`SHA256` identifies.
    """
    path = hub.find_weights(REPOSITORY, FILE, "Inception", "leave out --features inception")
    found = file_sha256(path)
    if found != SHA256:
        hashes = f"SHA-256 {found[:16]}..., not {SHA256[:16]}..."
        raise DataError(f"{path.resolve()}: not the weights that an FID is computed with ({hashes}); remove this file")
    return path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(network: InceptionV3, path: Path) -> None:
    """Loads the weights of a network from a file, which may also hold those of the classification layer.

    Raises:
        DataError: If the file cannot be read, or its weights are not those of this network.
    """
    try:
        weights = load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    state = network.state_dict()
    counters = {key for key in state if key.endswith("num_batches_tracked")}  # not in the file, and not used for features
    shapes = {key: tuple(value.shape) for key, value in state.items() if key not in counters}
    if any(key not in weights or tuple(weights[key].shape) != shape for key, shape in shapes.items()):
        raise DataError(f"{path}: these are not the weights of Inception-v3")
    network.load_state_dict(state | {key: weights[key] for key in shapes})
