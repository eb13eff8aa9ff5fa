"""One file for each command, or for a few that do the same. What they need of the box is handed to them."""
