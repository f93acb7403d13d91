"""Fast weights: a network that stores its own hidden states in a matrix, and reads them from it."""

from remanence.nn.fast_weights.layer import FastWeights, FastWeightsGrowthWarning

__all__ = ["FastWeights", "FastWeightsGrowthWarning"]
