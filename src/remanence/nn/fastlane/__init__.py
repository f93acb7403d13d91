"""A network without layers whose neurons fire in an order."""

from remanence.nn.fastlane.layer import Fastlane
from remanence.nn.fastlane.learned_order import learn_order
from remanence.nn.fastlane.stability import FastlaneOverflowWarning

__all__ = ["Fastlane", "FastlaneOverflowWarning", "learn_order"]
