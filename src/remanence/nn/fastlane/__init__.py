"""A network without layers whose neurons fire in an order."""

from remanence.nn.fastlane.layer import Fastlane

__all__ = ["Fastlane"]
