"""Writes the moves of a plan as Triton code: numbers that are read and written at places from a table."""

from remanence.ops.scan.tensors.planner import Move
from remanence.ops.scan.tensors.triton_block import POINTWISE, BlockWriter, Chunk
from remanence.ops.scan.tensors.triton_memory import CUBE, MATRIX, Part, add_terms


def write_move(writer: BlockWriter, move: Move, letter: str) -> list[str]:
    """Return the lines of a move; ``letter`` begins the names of its variables."""
    source, target = Part(move.source), Part(move.target)
    barrier = writer.wait([source, target] if move.adds else [source], [target])
    lines = _write_sums(writer, move, letter) if move.adds else _write_copies(writer, move, letter)
    writer.forget(target)
    return [*barrier, *lines]


def _write_copies(writer: BlockWriter, move: Move, letter: str) -> list[str]:
    count = len(move.sources)
    places = Chunk(f"{letter}i", count, writer.tile.count_numbers(POINTWISE))
    lines, indices = [], []
    for name, table in (("from", move.sources), ("to", move.targets)):
        if table == tuple(range(table[0], table[0] + count)):
            indices.append(add_terms(table[0], [places.index]))
        else:
            lines.append(f"{letter}{name} = {writer.load_table(table, places.index, places.masks)}")
            indices.append(f"{letter}{name}")
    lines.append(f"{letter}x = {writer.read(move.source, indices[0], MATRIX, places.masks)}")
    lines += writer.write(move.target, indices[1], f"{letter}x", MATRIX, places.masks)
    return places.wrap(lines)


def _write_sums(writer: BlockWriter, move: Move, letter: str) -> list[str]:
    """Write a move that adds: for every target the sum of what goes there, so that the order is always the same."""
    sources: dict[int, list[int]] = {}
    for source, target in zip(move.sources, move.targets, strict=True):
        sources.setdefault(target, []).append(source)
    count, most = len(sources), max(map(len, sources.values()))
    table = tuple(places[i] if i < len(places) else -1 for places in sources.values() for i in range(most))
    room = writer.tile.count_numbers(POINTWISE)
    terms = Chunk(f"{letter}r", most, room, "[None, None, :]")
    targets = Chunk(f"{letter}i", count, room // terms.width)
    at = f"{targets.index}[:, :, None] * {most} + {terms.index}"
    masks = [*(f"{mask}[:, :, None]" for mask in targets.masks), *terms.masks]
    adding = [
        f"{letter}from = {writer.load_table(table, at, masks, '-1')}",
        f"{letter}x = {writer.read(move.source, f'{letter}from', CUBE, [f'({letter}from >= 0)'])}",
        f"{letter}total += tl.reduce({letter}x, 2, add)",
    ]
    return targets.wrap(
        [
            f"{letter}to = {writer.load_table(tuple(sources), targets.index, targets.masks)}",
            f"{letter}total = tl.full([{writer.tile.samples}, {targets.width}], 0.0, {writer.real})",
            *terms.wrap(adding),
            f"{letter}total += {writer.read(move.target, f'{letter}to', MATRIX, targets.masks)}",
            *writer.write(move.target, f"{letter}to", f"{letter}total", MATRIX, targets.masks),
        ]
    )
