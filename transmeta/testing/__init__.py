"""Contract cases and fakes for the authors of plug-ins; needs pytest."""
