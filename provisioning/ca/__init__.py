"""A small certificate authority for a city that has none: `python -m provisioning.ca --help`. Runs at the centre, not
on a box."""
