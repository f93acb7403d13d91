"""Networks with a unitary or orthogonal recurrent matrix, through which gradients neither vanish nor explode."""

from remanence.nn.unitary.eunn import EUNN
from remanence.nn.unitary.orthogonal import OrthogonalRNN
from remanence.nn.unitary.urnn import UnitaryRNN

__all__ = ["EUNN", "OrthogonalRNN", "UnitaryRNN"]
