"""Memories with a matrix for each head, which is written, corrected and read by keys."""

from remanence.nn.matrix_memory.delta_net import DeltaNet
from remanence.nn.matrix_memory.delta_product import DeltaProduct
from remanence.nn.matrix_memory.gated_delta_net import GatedDeltaNet
from remanence.nn.matrix_memory.m2rnn import M2RNN
from remanence.nn.matrix_memory.mesa_net import MesaNet
from remanence.nn.matrix_memory.ttt_linear import TTTLinear

__all__ = ["M2RNN", "DeltaNet", "DeltaProduct", "GatedDeltaNet", "MesaNet", "TTTLinear"]
