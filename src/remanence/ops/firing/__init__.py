"""Neurons that fire one after the other, in an order that the graph gives."""
