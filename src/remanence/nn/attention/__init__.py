"""Full and efficient attention, for comparison with the memories; :class:`Attention` is the contract of all methods."""

from remanence.nn.attention.attention import Attention
from remanence.nn.attention.bigbird import BigBirdAttention
from remanence.nn.attention.full import FullAttention
from remanence.nn.attention.linear import LinearAttention
from remanence.nn.attention.linformer import LinformerAttention
from remanence.nn.attention.local import LocalAttention
from remanence.nn.attention.longformer import LongformerAttention
from remanence.nn.attention.performer import PerformerAttention
from remanence.nn.attention.reformer import ReformerAttention
from remanence.nn.attention.sinkhorn import SinkhornAttention
from remanence.nn.attention.strided import StridedAttention
from remanence.nn.attention.synthesizer import SynthesizerAttention
from remanence.registry import Registry

__all__ = [
    "Attention",
    "BigBirdAttention",
    "FullAttention",
    "LinearAttention",
    "LinformerAttention",
    "LocalAttention",
    "LongformerAttention",
    "PerformerAttention",
    "ReformerAttention",
    "SinkhornAttention",
    "StridedAttention",
    "SynthesizerAttention",
    "create",
    "methods",
]

methods: Registry[Attention] = Registry("attention", "remanence.attention", Attention)
methods.add("full", FullAttention)
methods.add("local", LocalAttention)
methods.add("strided", StridedAttention)
methods.add("longformer", LongformerAttention)
methods.add("bigbird", BigBirdAttention)
methods.add("linformer", LinformerAttention)
methods.add("linear", LinearAttention)
methods.add("performer", PerformerAttention)
methods.add("reformer", ReformerAttention)
methods.add("sinkhorn", SinkhornAttention)
methods.add("synthesizer", SynthesizerAttention)


def create(
    name: str,
    *,
    width: int,
    heads: int = 1,
    causal: bool = False,
    max_length: int | None = None,
    **options: object,
) -> Attention:
    """Build an attention method by name.

    Args:
        name: a name that ``remanence list`` shows, or ``package.module:Class``.
        width: number of channels of input and output.
        heads: number of heads.
        causal: whether position t attends only to positions up to t; default: False.
        max_length: length of the longest sequence; some methods require it.
        options: further keyword arguments of the method.

    Returns:
        The attention module.

    Raises:
        ValueError: the name is unknown (the message suggests a similar one), or the method rejects an argument.

    Example:
        >>> create("performer", width=8, heads=2, features=16).features
        16
    """
    return methods.create(name, width=width, heads=heads, causal=causal, max_length=max_length, **options)
