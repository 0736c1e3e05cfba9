"""Builds the packaged glyph and icon packs from public packages; run by `scripts/build_packs.py`."""
