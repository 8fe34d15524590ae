"""Write the files that are generated from the settings models, or say which have drifted.

python workflows/generate.py            write pipelines/<p>/config.yaml and the JSON schemas
python workflows/generate.py --check    write nothing; show what differs and exit 1
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from physml.config import dump_schema, dump_yaml
from physml.io.atomic import write_text
from physml.pipeline import get_pipeline

ROOT = Path(__file__).resolve().parents[1]


def generated() -> dict[Path, str]:
    """Text of every generated file of every pipeline in pipelines/."""
    files: dict[Path, str] = {}
    for folder in sorted(path.parent for path in ROOT.glob("pipelines/*/Snakefile")):
        model = get_pipeline(folder.name).settings_model()
        # With this line, editors complete the settings and show their descriptions.
        schema = f"workflows/schemas/{folder.name}.schema.json"
        modeline = f"# yaml-language-server: $schema=../../{schema}\n"
        files[folder / "config.yaml"] = modeline + dump_yaml(model)
        files[ROOT / schema] = dump_schema(model)
    return files


def drift(files: dict[Path, str]) -> str:
    """Differences between the files on disk and what they should be; empty where there are none."""
    lines: list[str] = []
    for path, text in files.items():
        found = path.read_text(encoding="utf-8") if path.exists() else ""
        name = str(path.relative_to(ROOT))
        lines += difflib.unified_diff(
            found.splitlines(), text.splitlines(), name, f"{name} (generated)", lineterm=""
        )
    return "\n".join(lines)


def main(check: bool) -> int:
    """Write the files, or compare them."""
    files = generated()
    difference = drift(files)
    if check:
        sys.stdout.write(difference + "\n" if difference else "")
        return 1 if difference else 0
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text, overwrite=True)
            sys.stderr.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
