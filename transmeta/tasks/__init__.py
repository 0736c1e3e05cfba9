"""Where tasks come from: packaged packs, image folders, tables, arrays."""
