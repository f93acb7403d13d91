"""A network without layers, whose neurons fire in a given order."""

from remanence.nn.fastlane.effective_map import FastlaneOverflowWarning
from remanence.nn.fastlane.layer import Fastlane
from remanence.nn.fastlane.learned_order import learn_order

__all__ = ["Fastlane", "FastlaneOverflowWarning", "learn_order"]
