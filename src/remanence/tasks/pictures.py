"""Images in characters."""

import numpy as np

SHADES = " ·-+*#"
WIDEST = 64  # pixels that fit a terminal, two characters each


def draw_image(image: np.ndarray) -> str:
    """Draw a grey image [rows, columns] of 0 to 255 in characters, two for each pixel.

    A large image is reduced to the brightest pixel of each block.
    """
    block = -(-image.shape[1] // WIDEST)
    if block > 1:
        rows, columns = (size // block for size in image.shape)
        image = image[: rows * block, : columns * block].reshape(rows, block, columns, block).max((1, 3))
    shades = (image.astype(np.int64) * len(SHADES) // 256).tolist()
    return "\n".join("".join(SHADES[shade] * 2 for shade in row).rstrip() for row in shades)
