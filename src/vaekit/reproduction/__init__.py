"""Reproductions of published results: tables and figures with published and obtained numbers, and a verdict on each.

:data:`REPRODUCTIONS` lists them, :func:`reproduce` and the command ``vae reproduce`` run them.
"""

from functools import partial

from vaekit.reproduction import (
    aevb,
    aevb_bounds,
    aevb_initialization,
    aevb_marginals,
    aevb_samples,
    ais_gap,
    iwae_table,
    lvae_table,
    vamp_gain,
)
from vaekit.reproduction.protocol import TIERS, Outcome, Reproduction, Row, Tier
from vaekit.reproduction.results import reproduce, results_folder

_VAMP_TIERS: dict[Tier, str] = {
    "smoke": "1 epoch per prior: a minute",
    "cpu": "60 epochs per prior: half an hour to an hour",
    "gpu": "up to 1,000 epochs per prior, with early stopping",
}

REPRODUCTIONS: dict[str, Reproduction] = {
    reproduction.name: reproduction
    for reproduction in (
        Reproduction(
            "aevb-fig2",
            "Figure 2, the bound against training images seen, AEVB and wake-sleep",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "AEVB, one model per data set, 1e5 images seen: a minute",
                "cpu": "MNIST 3e6 images seen, Frey Face 1e7 (10 latents) or 1e6: one to two hours",
                "gpu": "all models, 1e8 images seen, as published",
            },
            aevb_bounds.figure_2,
        ),
        Reproduction(
            "aevb-fig3",
            "Figure 3, the marginal likelihood with 3 latents: AEVB, Monte Carlo EM and wake-sleep",
            aevb.PAPER,
            "MNIST",
            {
                "smoke": "Monte Carlo EM only, N = 1,000, 1e6 images seen, estimated on 50 images: a minute",
                "cpu": "N = 1,000, 5e6 images seen, estimated on 1,000 images: about an hour",
                "gpu": "N = 1,000 and 50,000, 6e7 images seen, estimated on 1,000 images",
            },
            aevb_marginals.figure_3,
        ),
        Reproduction(
            "aevb-fig4",
            "Figure 4, manifolds of MNIST and Frey Face",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "Frey Face, 1e5 images seen: a few seconds",
                "cpu": "MNIST 3e6 and Frey Face 1e7 images seen: a quarter of an hour",
                "gpu": "both with 1e8 images seen",
            },
            aevb_samples.figure_4,
        ),
        Reproduction(
            "aevb-fig5",
            "Figure 5, samples of MNIST from models with 2, 5, 10 and 20 latents",
            aevb.PAPER,
            "MNIST",
            {
                "smoke": "5 latents, 1e5 images seen: half a minute",
                "cpu": "3e6 images seen: ten minutes, after aevb-fig2",
                "gpu": "1e8 images seen",
            },
            aevb_samples.figure_5,
        ),
        Reproduction(
            "aevb-weights",
            "Figure 2 with initial weights from N(0, 0.01), 0.01 read as a variance or as a standard deviation",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "Frey Face by wake-sleep, 1e5 images seen: half a minute",
                "cpu": "six models, 1e6 images seen: half an hour",
                "gpu": "six models, 1e8 images seen",
            },
            aevb_initialization.compare_initializations,
        ),
        Reproduction(
            "iwae-table1",
            "Table 1, negative log-likelihood and active units of models trained with 1, 5 and 50 samples",
            iwae_table.PAPER,
            "MNIST",
            {
                "smoke": "k = 5, 1 epoch: a minute",
                "cpu": "k = 1, 5, 50, the first 40 of the 3,280 epochs: one to two hours",
                "gpu": "k = 1, 5, 50, all 3,280 epochs",
            },
            iwae_table.table_1,
        ),
        Reproduction(
            "vamp-mnist",
            "the gain of the VampPrior over a standard normal prior on MNIST",
            vamp_gain.PAPER,
            "MNIST",
            _VAMP_TIERS,
            partial(vamp_gain.compare_priors, data="mnist"),
        ),
        Reproduction(
            "vamp-fashion",
            "the gain of the VampPrior over a standard normal prior on Fashion-MNIST",
            vamp_gain.PAPER,
            "Fashion-MNIST",
            _VAMP_TIERS,
            partial(vamp_gain.compare_priors, data="fashion-mnist"),
        ),
        Reproduction(
            "lvae-mnist",
            "a ladder of three stochastic layers on MNIST, negative log-likelihood",
            lvae_table.PAPER,
            "MNIST",
            {
                "smoke": "10,000 images, 1 epoch, 8 channels: half a minute",
                "cpu": "20 epochs, 24 channels: about an hour",
                "gpu": "400 epochs, 64 channels, as published",
            },
            lvae_table.table,
        ),
        Reproduction(
            "ais-gap",
            "the gap between the importance-weighted bound and annealed importance sampling, about 1 nat",
            ais_gap.PAPER,
            "MNIST",
            {
                "smoke": "model of iwae-table1, smoke tier; 20 images, 50 distributions: a minute",
                "cpu": "model of iwae-table1, cpu tier; 100 images, 1,000 distributions: ten minutes, after iwae-table1",
                "gpu": "model of iwae-table1, gpu tier; 1,000 images, 10,000 distributions",
            },
            ais_gap.ais_gap,
        ),
    )
}

__all__ = ["REPRODUCTIONS", "TIERS", "Outcome", "Reproduction", "Row", "Tier", "reproduce", "results_folder"]
