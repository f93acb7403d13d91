"""Networks whose recurrent matrix is unitary or orthogonal, so that no gradient fades or grows in passing it."""

from remanence.nn.unitary.eunn import EUNN
from remanence.nn.unitary.orthogonal import OrthogonalRNN
from remanence.nn.unitary.urnn import UnitaryRNN

__all__ = ["EUNN", "OrthogonalRNN", "UnitaryRNN"]
