"""Check the types of the Python in the README and in the pages: as a user's editor would, with pyright."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        for page in PAGES:
            blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
            if blocks:
                file = Path(name) / f"{page.relative_to(ROOT).with_suffix('')}.py".replace("/", "_")
                file.write_text("\n".join(blocks), encoding="utf-8")
        files = sorted(map(str, Path(name).iterdir()))
        command = [sys.executable, "-m", "pyright", "--level", "error", "--pythonpath", sys.executable, *files]
        sys.exit(subprocess.run(command, cwd=name).returncode)


if __name__ == "__main__":
    main()
