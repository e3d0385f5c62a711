"""Parameter files by name; progan/presets.py reads them."""
