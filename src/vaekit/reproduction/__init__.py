"""The numbers of papers, had again: published beside obtained, with a verdict.

The table lists what can be reproduced; ``vae reproduce`` runs it.
"""

from functools import partial

from vaekit.reproduction import aevb, aevb_initialization, aevb_marginals, aevb_samples, iwae_table, vamp_gain
from vaekit.reproduction.protocol import TIERS, Outcome, Reproduction, Row, Tier
from vaekit.reproduction.results import reproduce

REPRODUCTIONS: dict[str, Reproduction] = {
    reproduction.name: reproduction
    for reproduction in (
        Reproduction(
            "aevb-fig2",
            "the bound against training images seen, AEVB and wake-sleep",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "one model of each, 1e5 images: a minute",
                "cpu": "MNIST 3e6 images, Frey Face 1e7 (10 latents) and 1e6: one to two hours",
                "gpu": "all of it to 1e8, as published",
            },
            aevb.figure_2,
        ),
        Reproduction(
            "aevb-fig3",
            "the marginal likelihood with 3 latents: AEVB, Monte Carlo EM and wake-sleep",
            aevb.PAPER,
            "MNIST",
            {
                "smoke": "Monte Carlo EM alone, 1e6 images seen, 50 points: a minute",
                "cpu": "N = 1,000, 5e6 images seen, 1,000 points: about an hour",
                "gpu": "N = 1,000 and 50,000, 6e7 images seen",
            },
            aevb_marginals.figure_3,
        ),
        Reproduction(
            "aevb-fig4",
            "manifolds of MNIST and Frey Face",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "Frey Face, 1e5 images seen: a few seconds",
                "cpu": "MNIST 3e6 and Frey Face 1e7 images seen: a quarter of an hour",
                "gpu": "both 1e8 images seen",
            },
            aevb_samples.figure_4,
        ),
        Reproduction(
            "aevb-fig5",
            "samples of MNIST from models of 2, 5, 10 and 20 latents",
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
            "what N(0, 0.01) means: models of Figure 2 from first weights of either reading",
            aevb.PAPER,
            "MNIST, Frey Face",
            {
                "smoke": "Frey Face by wake-sleep, 1e5 images seen: half a minute",
                "cpu": "six models, 1e6 images seen: half an hour",
                "gpu": "the same to 1e8",
            },
            aevb_initialization.first_weights,
        ),
        Reproduction(
            "iwae-table1",
            "negative log-likelihood and active units of models trained with 1, 5 and 50 samples",
            iwae_table.PAPER,
            "MNIST",
            {
                "smoke": "k = 5, one epoch: a minute",
                "cpu": "k = 1, 5, 50, the first 40 of the 3,280 epochs: one to two hours",
                "gpu": "k = 1, 5, 50, all 3,280 epochs",
            },
            iwae_table.table_1,
        ),
        Reproduction(
            "vamp-mnist",
            "84.45 to 82.43 nats when the prior changes and nothing else",
            vamp_gain.PAPER,
            "MNIST",
            {
                "smoke": "an epoch each: a minute",
                "cpu": "60 epochs each: half an hour to an hour",
                "gpu": "to the end of patience",
            },
            partial(vamp_gain.compare_priors, data="mnist"),
        ),
        Reproduction(
            "vamp-fashion",
            "228.70 to 227.35 nats when the prior changes and nothing else",
            vamp_gain.PAPER,
            "Fashion-MNIST",
            {
                "smoke": "an epoch each: a minute",
                "cpu": "60 epochs each: half an hour to an hour",
                "gpu": "to the end of patience",
            },
            partial(vamp_gain.compare_priors, data="fashion-mnist"),
        ),
        Reproduction(
            "ais-gap",
            "the importance-weighted bound against annealed importance sampling: a gap of about 1 nat",
            iwae_table.GAP_PAPER,
            "MNIST",
            {
                "smoke": "the model of iwae-table1's smoke tier, 20 images: a minute",
                "cpu": "the model of iwae-table1's cpu tier, 100 images, 1,000 distributions: ten minutes",
                "gpu": "the model of iwae-table1's gpu tier, 1,000 images, 10,000 distributions",
            },
            iwae_table.ais_gap,
        ),
    )
}

__all__ = ["REPRODUCTIONS", "TIERS", "Outcome", "Reproduction", "Row", "Tier", "reproduce"]
