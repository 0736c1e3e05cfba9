"""Builds transmeta's packaged glyph and icon packs from pinned public packages.

    python scripts/build_packs.py --out transmeta/tasks/packs            # builds and writes
    python scripts/build_packs.py --out transmeta/tasks/packs --check    # builds and compares with packs.json

Needs scripts/build_packs-requirements.txt, npm, apt-get and dpkg-deb. Takes about ten minutes and 2 GB of disk in
the work folder, which is used again when it is given again. Nothing is installed outside the work folder.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from packbuild.faces import load_faces
from packbuild.glyphs import CHARACTERS, draw_glyphs
from packbuild.icons import draw_icons, load_sets
from packbuild.manifest import (
    SCHEMA,
    Array,
    checksum,
    describe_pack,
    glyph_sources,
    icon_sources,
    pack_arrays,
    write_licences,
    write_notice,
)

TABLES = Path(__file__).parent / "packbuild"
LARGEST_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The packs' arrays by pack and name, and the content of packs.json."""

    arrays: Mapping[str, Mapping[str, Array]]
    manifest: Mapping[str, object]


def main(arguments: list[str] | None = None) -> int:
    """Builds the packs; returns 0, or 1 if `--check` finds other checksums than packs.json has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of glyphs.npz, icons.npz and packs.json")
    parser.add_argument("--work", type=Path, help="folder for downloads (default: a temporary one)")
    parser.add_argument("--check", action="store_true", help="compare with packs.json in --out and write nothing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="packs-") as temporary:
        work: Path = (options.work or Path(temporary)).resolve()
        if options.check:
            with tempfile.TemporaryDirectory(prefix="packs-notice-") as scratch:
                return _compare(_build(Path(scratch), work=work), out=options.out)
        options.out.mkdir(parents=True, exist_ok=True)
        _write(_build(options.out, work=work), out=options.out)
    return 0


def _build(folder: Path, *, work: Path) -> Built:
    """Draws both packs and writes notice and licences to the folder."""
    faces = load_faces(TABLES / "fonts.toml", work=work)
    glyphs, glyph_classes = draw_glyphs(faces, scripts=sorted(CHARACTERS))
    sets, refused, package = load_sets(TABLES / "icons.toml", work=work)
    print(f"icon sets left out for their licence: {', '.join(refused)}")
    icons, icon_classes = draw_icons(TABLES / "icons.toml", sets=sets, package=package)
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    source = f"npm:@iconify/json@{version}"
    arrays = {
        "glyphs": pack_arrays(glyphs, classes=glyph_classes, kind="glyphs"),
        "icons": pack_arrays(icons, classes=icon_classes, kind="icons"),
    }
    sources = {
        "glyphs": glyph_sources(glyphs, faces=faces),
        "icons": icon_sources(icons, sets=sets, package=source),
    }
    packs = {name: describe_pack(arrays[name], sources=sources[name]) for name in sorted(arrays)}
    write_notice(folder, glyphs=glyphs, faces=faces, icons=icons, sets=sets, package=source)
    write_licences(folder, spdx=[str(row["licence"]) for rows in sources.values() for row in rows], work=work)
    return Built(arrays=arrays, manifest={"schema": SCHEMA, "packs": packs})


def _write(built: Built, *, out: Path) -> None:
    total = 0
    for name, arrays in built.arrays.items():
        np.savez_compressed(out / f"{name}.npz", allow_pickle=False, **arrays)
        size = (out / f"{name}.npz").stat().st_size
        total += size
        print(f"{name}: {len(arrays['x'])} images, {size} bytes")
    if total > LARGEST_BYTES:
        raise ValueError(f"the packs take {total} bytes, at most {LARGEST_BYTES} are allowed; lower the caps")
    text = json.dumps(built.manifest, indent=1, ensure_ascii=False, sort_keys=True)
    (out / "packs.json").write_text(text + "\n", encoding="utf-8")


def _compare(built: Built, *, out: Path) -> int:
    """Returns 0 if every array has the checksum that packs.json states for it, and says which has not."""
    known = json.loads((out / "packs.json").read_text(encoding="utf-8"))["packs"]
    stated = {f"{pack}.{name}": value for pack, entry in known.items() for name, value in entry["sha256"].items()}
    found = {f"{pack}.{name}": checksum(array) for pack, of in built.arrays.items() for name, array in of.items()}
    differing = sorted(key for key in stated.keys() | found.keys() if stated.get(key) != found.get(key))
    for key in differing:
        print(f"{key}: packs.json has {stated.get(key)}, built {found.get(key)}", file=sys.stderr)
    print(f"{len(stated) - len(differing)} of {len(stated)} arrays have the checksum of packs.json")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
