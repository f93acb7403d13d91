"""Fast weights: a network that stores its hidden states in a matrix and reads from it."""

from remanence.nn.fast_weights.layer import FastWeights, FastWeightsGrowthWarning

__all__ = ["FastWeights", "FastWeightsGrowthWarning"]
