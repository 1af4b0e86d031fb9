"""Makes a folder of poem collections (JSON, chinese-poetry's shape) several times as large, for measuring the data view.

The first copy is unchanged; in every other each Han character is replaced with probability 1/4 by one sampled from
the collections (seeded), so that hardly any poem is a near duplicate of its original (two adjacent characters stay
with probability 0.56, a Jaccard similarity of about 0.4).

usage: python3 scripts/grow_poems.py FOLDER OUT [COPIES]
"""

import json
import pathlib
import random
import sys


def han(c):
    return "\u4e00" <= c <= "\u9fff"


def main():
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    copies = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    out.mkdir(exist_ok=True)
    chance = random.Random(20261124).random
    files = sorted(source.rglob("*.json"))
    pool = []
    for file in files[::20]:
        pool.extend(c for c in file.read_text("utf-8", errors="ignore") if han(c))
    pool = pool[::7]

    def changed(line):
        if not isinstance(line, str):
            return line
        return "".join(pool[int(chance() * len(pool))] if han(c) and chance() < 0.25 else c for c in line)

    for copy in range(copies):
        for number, file in enumerate(files):
            try:
                data = json.loads(file.read_text("utf-8"))
            except ValueError:
                continue
            for record in data if isinstance(data, list) and copy else []:
                if isinstance(record, dict) and isinstance(record.get("paragraphs"), list):
                    record["paragraphs"] = [changed(line) for line in record["paragraphs"]]
            text = json.dumps(data, ensure_ascii=False, indent=2)
            (out / f"{copy}-{number}.json").write_text(text, "utf-8")


main()
