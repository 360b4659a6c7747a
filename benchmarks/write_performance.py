"""Rewrite docs/performance.md from benchmarks/results: as it was measured, nothing left out.

python -m benchmarks.write_performance
"""

import json
from pathlib import Path

from benchmarks.results import RESULTS, Result

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEADER = """# Performance

Made by `make bench` from `benchmarks/results`; do not edit. A figure means something beside its peer of the same run, not alone.
"""


def table(rows: list[Result]) -> str:
    """One markdown table."""
    lines = ["| figure | value | unit | ratio | peer | spread |", "|---|---:|---|---:|---|---|"]
    lines += [
        f"| {row.name} | {row.value:,.3f} | {row.unit} | {row.ratio:.3f} | {row.peer} | {row.spread} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page."""
    parts = [HEADER]
    for path in sorted(RESULTS.glob("*.json")):
        rows = [Result(**row) for row in json.loads(path.read_text())]
        if rows:
            parts.append(f"## {path.stem}\n\n{rows[0].environment}\n\n{table(rows)}\n")
    PAGE.write_text("\n".join(parts))
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
