r"""Downstream tasks: how well classes can be predicted from the latents.

Three tasks are measured on the posterior means :math:`\mathbb{E}_{q(z|x)}[z]` and, as baselines, on the pixels and on
their principal components, as many as there are latents:

- **linear probe**: the accuracy of logistic regression on features of mean 0 and variance 1,
- **k-NN**: the accuracy of the majority vote of the :data:`NUM_NEIGHBORS` nearest training images by Euclidean distance,
- **clustering**: k-means of the test images with as many clusters as classes, compared with the classes by the adjusted
  Rand index (ARI) and the adjusted mutual information (AMI).

The first two are trained on training images and tested on test images; their standard error is binomial. The standard error
of clustering is over :data:`NUM_SEEDS` seeds of k-means.

Both indices have the expectation 0 for clusters that are independent of the classes, and 1 for equal ones:

.. math:: \mathrm{AMI} = \frac{I(U; V) - \mathbb{E} I(U; V)}{\frac12 (H(U) + H(V)) - \mathbb{E} I(U; V)},

with the expectation over random assignments with the same numbers of images in each cluster and class. The normalized mutual
information (NMI), without the expectation, is far above 0 by chance if classes have few images: about 0.6 for 12 images in 6
classes. If each image has a class of its own, or all have one, clusters equal the classes by construction, numerator and
denominator are 0, and there is no index.

References:
    | Understanding intermediate layers using linear classifier probes (Alain & Bengio, 2016),
      https://arxiv.org/abs/1610.01644
    | Comparing partitions (Hubert & Arabie, 1985), https://doi.org/10.1007/BF01908075
    | Information Theoretic Measures for Clusterings Comparison (Vinh et al., 2010),
      https://jmlr.org/papers/v11/vinh10a.html
"""

import math
import warnings
from dataclasses import asdict, dataclass, replace
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
from vaekit.models import Model

SEEDS = 2**32
"""The number of seeds that scikit-learn knows."""
NUM_NEIGHBORS = 5
"""k of k-NN."""
NUM_SEEDS = 5
"""The number of runs of k-means."""
MAX_NUMBERS = 2**26
"""The number of pixel values of a split that are used at most: 256 MB of float32. It limits the number of large images."""
MAX_STEPS = 100
"""The number of iterations of logistic regression. On pixels it has not converged by then, but its accuracy has."""

ACCURACY, AGREEMENT = "share of images", "1 is equal, 0 is chance"
ARI, AMI = "ARI", "AMI"

Array = NDArray[Any]


@dataclass(frozen=True)
class TaskScores:
    """The scores of one representation of the images.

    Arguments:
        linear_probe: The accuracy of logistic regression.
        k_nn: The accuracy of k nearest neighbors.
        ari: The adjusted Rand index of clusters and classes; None if it does not exist.
        ami: The adjusted mutual information of clusters and classes; None if it does not exist.
    """

    linear_probe: Estimate
    k_nn: Estimate
    ari: Estimate | None
    ami: Estimate | None

    def by_name(self) -> dict[str, Estimate | None]:
        """Returns the scores by the names that are shown."""
        return {"linear probe": self.linear_probe, "k-NN": self.k_nn, ARI: self.ari, AMI: self.ami}


@dataclass(frozen=True)
class TaskSettings:
    """The settings of the downstream tasks.

    Arguments:
        train_images: The number of training images.
        test_images: The number of test images.
        components: The number of principal components.
        neighbors: k of k-NN.
        clusters: The number of clusters of k-means.
        clustering_seeds: The number of runs of k-means.
        told_labels: Whether the encoder receives the labels, because the model is conditional.
    """

    train_images: int
    test_images: int
    components: int
    neighbors: int
    clusters: int
    clustering_seeds: int
    told_labels: bool


@dataclass(frozen=True)
class DownstreamScores:
    """The scores of the downstream tasks.

    Arguments:
        posterior_means: The scores of the posterior means.
        pixels: The scores of the pixels.
        pca: The scores of the principal components of the pixels.
        majority_class: The accuracy of always predicting the most frequent class of the training images.
        settings: The settings.
        no_clustering: Why clusters are not compared with classes; empty if they are.
    """

    posterior_means: TaskScores
    pixels: TaskScores
    pca: TaskScores
    majority_class: Estimate
    settings: TaskSettings
    no_clustering: str = ""

    def to_data(self) -> dict[str, Any]:
        """Returns the scores as a dictionary for JSON: by task, then by representation, without those that do not exist."""
        representations = {"posterior means": self.posterior_means, "pixels": self.pixels, "PCA": self.pca}
        tasks: dict[str, dict[str, Any]] = {}
        for representation, scores in representations.items():
            for task, score in scores.by_name().items():
                if score is not None:
                    tasks.setdefault(task, {})[representation] = score.to_data()
        return {
            **tasks,
            **({"without clustering": self.no_clustering} if self.no_clustering else {}),
            "commonest class": self.majority_class.to_data(),
            "settings": asdict(self.settings),
        }


def downstream_scores(
    model: Model, train: ImageSet, test: ImageSet, *, max_images: int = 10_000, seed: int = 0
) -> DownstreamScores:
    """Measures how well classes can be predicted from the posterior means.

    The encoder of a conditional model receives the label of each image, including the test images. Then the scores measure
    how much of the label z repeats, not how well the class could be predicted.

    Arguments:
        model: The model.
        train: Training images with labels.
        test: Test images with labels.
        max_images: The number of images of each split to use at most, chosen at random; fewer if the images are large.
        seed: The seed of that choice, of PCA and of k-means.

    Raises:
        DataError: If a split has no labels, or the training images have only one class.
    """
    _require_labels(train, test)
    num_images = max(1, min(max_images, MAX_NUMBERS // math.prod(test.shape)))
    train, test = train.sample(num_images, seed), test.sample(num_images, seed)
    y_train, y_test = _labels(train), _labels(test)
    if len(np.unique(y_train)) < 2:
        raise DataError(f"{train.name}: the images of the {train.split} split have only one class; use at least two classes")
    means = encode_images(model, train).means.numpy(), encode_images(model, test).means.numpy()
    pixels = _pixels(train), _pixels(test)
    components = principal_components(*pixels, model.latent_dim, seed)
    no_clustering = _why_not_clustered(y_test)

    def scores(name: str, x_train: Array, x_test: Array) -> TaskScores:
        with working(f"downstream tasks on {name}"):
            accuracy = linear_probe(x_train, y_train, x_test, y_test, seed)
            votes = nearest_neighbors(x_train, y_train, x_test, y_test)
            clusters = (None, None) if no_clustering else clustering(x_test, y_test, len(np.unique(y_test)), seed)
        ari, ami = (None if score is None else replace(score, space=name) for score in clusters)
        return TaskScores(replace(accuracy, space=name), replace(votes, space=name), ari, ami)

    return DownstreamScores(
        posterior_means=scores("posterior means", *means),
        pixels=scores("pixels", *pixels),
        pca=scores("PCA", *components),
        majority_class=_accuracy(np.full_like(y_test, np.bincount(y_train).argmax()), y_test),
        settings=TaskSettings(
            train_images=len(train),
            test_images=len(test),
            components=components[0].shape[1],
            neighbors=min(NUM_NEIGHBORS, len(train)),
            clusters=len(np.unique(y_test)),
            clustering_seeds=NUM_SEEDS,
            told_labels=model.condition is not None,
        ),
        no_clustering=no_clustering,
    )


def _require_labels(*splits: ImageSet) -> None:
    for images in splits:
        if images.labels is None:
            raise DataError(
                f"{images.name}: the {images.split} split has no labels, so latents cannot be compared with classes"
            )


def principal_components(x_train: Array, x_test: Array, num: int, seed: int = 0) -> tuple[Array, Array]:
    """Returns the principal components of the training features, of both splits, with shape (N, min(num, N, F))."""
    from sklearn.decomposition import PCA

    pca = PCA(min(num, *x_train.shape), random_state=seed % SEEDS).fit(x_train)
    return pca.transform(x_train), pca.transform(x_test)


def linear_probe(x_train: Array, y_train: Array, x_test: Array, y_test: Array, seed: int = 0) -> Estimate:
    """Returns the accuracy of logistic regression on standardized features of shape (N, F), with labels of shape (N)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_STEPS, random_state=seed % SEEDS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # expected, see MAX_STEPS
        probe.fit(x_train, y_train)
    return _accuracy(probe.predict(x_test), y_test)


def nearest_neighbors(x_train: Array, y_train: Array, x_test: Array, y_test: Array) -> Estimate:
    """Returns the accuracy of k nearest neighbors on features of shape (N, F), with labels of shape (N)."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(NUM_NEIGHBORS, len(x_train)), algorithm="brute").fit(x_train, y_train)
    return _accuracy(classifier.predict(x_test), y_test)


def clustering(x: Array, labels: Array, num_clusters: int, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Returns the ARI and the AMI of k-means on features of shape (N, F) and labels of shape (N).

    They are comparisons only if there are fewer classes than images, and more than one.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # raised if fewer than num_clusters features are distinct
        for start in range(seed, seed + NUM_SEEDS):
            clusters = KMeans(num_clusters, n_init=1, random_state=start % SEEDS).fit_predict(x)
            scores.append([adjusted_rand_score(labels, clusters), adjusted_mutual_info_score(labels, clusters)])
    ari, ami = (mean_over_images(values, AGREEMENT) for values in torch.tensor(scores, dtype=torch.float64).T)
    return replace(ari, num_images=len(x)), replace(ami, num_images=len(x))


def _why_not_clustered(labels: Array) -> str:
    """Why clusters of images with labels of shape (N) cannot be compared with the classes; empty if they can."""
    num, num_classes = len(labels), len(np.unique(labels))
    if num_classes == num:
        return f"each of the {num:,} test images has a class of its own, so that any {num:,} clusters equal the classes"
    if num_classes == 1:
        return f"the {num:,} test images have one class, which one cluster equals"
    return ""


def _pixels(images: ImageSet) -> Array:
    array: Array = to_unit_interval(images.pixels).flatten(1).cpu().numpy()
    return array


def _labels(images: ImageSet) -> Array:
    assert images.labels is not None  # checked by downstream_scores
    array: Array = images.labels.cpu().numpy()
    return array


def _accuracy(predictions: Array, labels: Array) -> Estimate:
    return mean_over_images(torch.from_numpy(predictions == labels), ACCURACY)
