r"""What the code of an image is good for, where nobody told the model of classes.

On posterior means :math:`\mathbb{E}_{q(z|x)}[z]`, and for comparison on raw pixels and on as many principal components of
them as there are latents:

- **linear probe**: the accuracy of logistic regression on features of mean 0 and variance 1,
- **k-NN**: the accuracy of the vote of the :data:`NEIGHBORS` nearest training images, by Euclidean distance,
- **clustering**: k-means of the test images with as many clusters as classes, compared with the classes by the adjusted
  Rand index (ARI) and the normalized mutual information (NMI).

The first two learn from training images and are tested on test images; their standard error is the binomial one over
these. That of clustering is over :data:`SEEDS` seeds of k-means.

References:
    | Understanding intermediate layers using linear classifier probes (Alain & Bengio, 2016),
      https://arxiv.org/abs/1610.01644
    | Comparing partitions (Hubert & Arabie, 1985), https://doi.org/10.1007/BF01908075
    | Information Theoretic Measures for Clusterings Comparison (Vinh et al., 2010),
      https://jmlr.org/papers/v11/vinh10a.html
"""

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import working
from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import Estimate, mean_over_images
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.models import VAE

NEIGHBORS = 5
"""k of k-NN."""
SEEDS = 5
"""How many times k-means starts anew."""
MAX_PIXELS = 2**26
"""How many numbers the images of a split have together at most, 256 MB of float32: of large images fewer are used."""
STEPS = 100
"""The most steps that logistic regression takes; far from converged on pixels, but its accuracy stands still by then."""

ACCURACY, AGREEMENT = "share of images", "1 is equal, 0 is chance"

Array = NDArray[Any]


def usefulness(model: VAE, train: ImageSet, test: ImageSet, *, max_images: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Measures how well classes can be told from codes.

    The encoder of a conditional model is told the label of each image, test images included: then these numbers say how
    much of the class z repeats, and not how well it could be predicted (``told_labels``).

    Arguments:
        model: The model.
        train: Images to learn from, with labels.
        test: Images to be tested on, with labels.
        max_images: How many images of each, drawn at random, are used at most; fewer of large ones.
        seed: The seed of that draw, of PCA and of k-means.

    Returns:
        A dictionary that JSON can hold: ``linear probe``, ``k-NN``, ``ARI`` and ``NMI``, each with an estimate for
        ``posterior means``, ``pixels`` and ``PCA``; the accuracy of always naming the ``commonest class`` of the training
        images; and ``settings``.

    Raises:
        DataError: If there are no labels, or only one class to learn.
    """
    for images in (train, test):
        if images.labels is None:
            raise DataError(
                f"{images.name}: the {images.split} split has no labels, so codes cannot be compared with classes"
            )
    most = max(1, min(max_images, MAX_PIXELS // math.prod(test.shape)))
    train, test = train.sample(most, seed), test.sample(most, seed)
    y_train, y_test = _labels(train), _labels(test)
    if len(np.unique(y_train)) < 2:
        raise DataError(
            f"{train.name}: all images of the {train.split} split are of one class, so there is nothing to tell apart"
        )
    representations = _representations(model, train, test, seed)
    num_clusters = len(np.unique(y_test))
    results: dict[str, dict[str, Any]] = {"linear probe": {}, "k-NN": {}, "ARI": {}, "NMI": {}}
    for name, (a, b) in representations.items():
        with working(f"usefulness of {name}"):
            found = {
                "linear probe": linear_probe(a, y_train, b, y_test, seed),
                "k-NN": nearest_neighbors(a, y_train, b, y_test),
            }
            for key, number in (found | clustering(b, y_test, num_clusters, seed)).items():
                results[key][name] = replace(number, space=name).to_data()
    return results | {
        "commonest class": _accuracy(np.full_like(y_test, np.bincount(y_train).argmax()), y_test).to_data(),
        "settings": {
            "train_images": len(train),
            "test_images": len(test),
            "components": representations["PCA"][0].shape[1],
            "neighbors": min(NEIGHBORS, len(train)),
            "clusters": num_clusters,
            "clustering_seeds": SEEDS,
            "told_labels": model.condition is not None,
        },
    }


def linear_probe(x_train: Array, y_train: Array, x_test: Array, y_test: Array, seed: int = 0) -> Estimate:
    """Returns the accuracy of logistic regression on standardized features of shape (N, F), with labels of shape (N)."""
    from sklearn.exceptions import ConvergenceWarning  # heavy, and only needed here
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=STEPS, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(x_train, y_train)
    return _accuracy(probe.predict(x_test), y_test)


def nearest_neighbors(x_train: Array, y_train: Array, x_test: Array, y_test: Array) -> Estimate:
    """Returns the accuracy of the vote of the nearest training images by features of shape (N, F)."""
    from sklearn.neighbors import KNeighborsClassifier

    vote = KNeighborsClassifier(min(NEIGHBORS, len(x_train)), algorithm="brute").fit(x_train, y_train)
    return _accuracy(vote.predict(x_test), y_test)


def clustering(x: Array, labels: Array, num_clusters: int, seed: int = 0) -> dict[str, Estimate]:
    """Returns ``ARI`` and ``NMI`` of labels of shape (N) and k-means by features of shape (N, F)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # codes that are all the same make fewer clusters
        for start in range(seed, seed + SEEDS):
            found = KMeans(num_clusters, n_init=1, random_state=start).fit_predict(x)
            scores.append((adjusted_rand_score(labels, found), normalized_mutual_info_score(labels, found)))
    means, errors = np.mean(scores, 0), np.std(scores, 0, ddof=1) / SEEDS**0.5
    return {
        name: Estimate(float(mean), float(error), AGREEMENT, len(x))
        for name, mean, error in zip(("ARI", "NMI"), means, errors, strict=True)
    }


def _representations(model: VAE, train: ImageSet, test: ImageSet, seed: int) -> dict[str, tuple[Array, Array]]:
    """The features of training and test images, with shape (N, F), by name."""
    from sklearn.decomposition import PCA

    means = encode_images(model, train).means.numpy(), encode_images(model, test).means.numpy()
    pixels = _pixels(train), _pixels(test)
    components = PCA(min(model.latent_dim, *pixels[0].shape), random_state=seed).fit(pixels[0])
    return {
        "posterior means": means,
        "pixels": pixels,
        "PCA": (components.transform(pixels[0]), components.transform(pixels[1])),
    }


def _pixels(images: ImageSet) -> Array:
    array: Array = to_unit_interval(images.pixels).flatten(1).cpu().numpy()
    return array


def _labels(images: ImageSet) -> Array:
    assert images.labels is not None  # asked for on entry
    array: Array = images.labels.cpu().numpy()
    return array


def _accuracy(said: Array, labels: Array) -> Estimate:
    return mean_over_images(torch.from_numpy(said == labels), ACCURACY)
