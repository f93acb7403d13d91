"""Neural circuit policies: sensory -> inter -> command (recurrent) -> motor."""

import numpy as np

from remanence.checks import positive_integer
from remanence.errors import UserError
from remanence.wiring.graph import Wiring


def ncp(
    inputs: int,
    inter: int,
    command: int,
    motor: int,
    *,
    sensory_fanout: int,
    inter_fanout: int,
    command_synapses: int,
    motor_fanin: int,
    inhibitory: float = 0.5,
    seed: int = 0,
) -> Wiring:
    """Create a neural circuit policy, modelled on the nervous system of a worm: four layers, the third recurrent.

    Each input reaches ``sensory_fanout`` inter neurons, each inter neuron ``inter_fanout`` command neurons, each motor
    neuron receives from ``motor_fanin`` command neurons, all drawn without repetition. A neuron left without a sender
    or a receiver is then connected to as many neurons as the others of its layer are on average (at least one). Neurons
    are numbered motor, command, inter, so that the first ones are the outputs.

    Args:
        inputs: sensory neurons, that is channels of the input.
        inter: neurons of the first layer.
        command: neurons of the second, which hear each other too.
        motor: neurons of the last, the outputs.
        sensory_fanout: synapses from each input.
        inter_fanout: synapses from each inter neuron.
        command_synapses: synapses among command neurons, in all; a neuron may hear itself.
        motor_fanin: synapses onto each motor neuron.
        inhibitory: share of the synapses that inhibit.
        seed: the seed of the draw of synapses and signs.

    Returns:
        The wiring.

    Raises:
        ValueError: a number that is not positive, or a fan that exceeds the layer it is drawn from.

    References:
        Lechner et al. 2020, Neural circuit policies enabling auditable autonomy, Methods.

    Example:
        >>> ncp(8, 12, 6, 2, sensory_fanout=4, inter_fanout=3, command_synapses=5, motor_fanin=3).outputs
        array([0, 1])
    """
    for name, size in (("inputs", inputs), ("inter", inter), ("command", command), ("motor", motor)):
        positive_integer(name, size)
    positive_integer("sensory_fanout", sensory_fanout, most=inter)
    positive_integer("inter_fanout", inter_fanout, most=command)
    positive_integer("command_synapses", command_synapses, most=command * command)
    positive_integer("motor_fanin", motor_fanin, most=command)
    rng = np.random.default_rng(seed)
    neurons = motor + command + inter
    motors, commands, inters = slice(motor), slice(motor, motor + command), slice(motor + command, neurons)
    adjacency, sensory = np.zeros((neurons, neurons), dtype=np.int8), np.zeros((neurons, inputs), dtype=np.int8)
    sensory[inters] = _fan_out(inputs, inter, sensory_fanout, rng).T
    adjacency[commands, inters] = _fan_out(inter, command, inter_fanout, rng).T
    adjacency[motors, commands] = _fan_out(motor, command, motor_fanin, rng)
    recurrent = np.zeros(command * command, dtype=np.int8)
    recurrent[rng.choice(command * command, size=command_synapses, replace=False)] = 1
    adjacency[commands, commands] = recurrent.reshape(command, command)
    layer = np.repeat(np.array([2, 1, 0], dtype=np.int8), [motor, command, inter])
    return Wiring(adjacency, sensory, layer).with_signs(inhibitory, seed)


def auto_ncp(
    inputs: int, neurons: int, outputs: int, *, sparsity: float = 0.5, inhibitory: float = 0.5, seed: int = 0
) -> Wiring:
    """Create a neural circuit policy of a given size: 2 in 5 of the neurons that are not outputs are command neurons.

    Args:
        inputs: number of input channels.
        neurons: number of inter, command and motor neurons together.
        outputs: number of motor neurons.
        sparsity: the fraction of possible synapses that do not exist, from 0.1 to 0.9; default: 0.5.
        inhibitory: the fraction of synapses that are inhibitory; default: 0.5.
        seed: seed of the synapses and signs; default: 0.

    Returns:
        The wiring.

    Raises:
        ValueError: an argument is out of range.

    References:
        The sizes are those of ``ncps.wirings.AutoNCP``.

    Example:
        >>> wiring = auto_ncp(3, 20, outputs=2)
        >>> wiring.adjacency.shape, wiring.sensory.shape, len(wiring.outputs)
        ((20, 20), (20, 3), 2)
    """
    positive_integer("outputs", outputs, most=neurons - 3)
    if not 0.1 <= sparsity <= 0.9:
        raise UserError(f"sparsity must be 0.1 to 0.9, got {sparsity}")
    density = 1 - sparsity
    command = max(int(0.4 * (neurons - outputs)), 1)
    inter = neurons - outputs - command
    return ncp(
        inputs,
        inter,
        command,
        outputs,
        sensory_fanout=max(int(inter * density), 1),
        inter_fanout=max(int(command * density), 1),
        command_synapses=max(int(command * density * 2), 1),
        motor_fanin=max(int(command * density), 1),
        inhibitory=inhibitory,
        seed=seed,
    )


def _fan_out(senders: int, receivers: int, fan: int, rng: np.random.Generator) -> np.ndarray:
    """Draw synapses [senders, receivers]: ``fan`` from each sender, and some onto each receiver that has none."""
    synapses = np.zeros((senders, receivers), dtype=np.int8)
    for sender in synapses:
        sender[rng.choice(receivers, size=fan, replace=False)] = 1
    mean = max(senders * fan // receivers, 1)
    for receiver in np.flatnonzero(~synapses.any(0)):
        synapses[rng.choice(senders, size=mean, replace=False), receiver] = 1
    return synapses
