"""Images in characters."""

import numpy as np

SHADES = " ·-+*#"


def drawn(image: np.ndarray) -> str:
    """A grey image [rows, columns], from 0 to 255, two characters a pixel."""
    shades = (image.astype(np.int64) * len(SHADES) // 256).tolist()
    return "\n".join("".join(SHADES[shade] * 2 for shade in row).rstrip() for row in shades)
