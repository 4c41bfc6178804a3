"""The whole loop on one machine: every real part, no cloud, one command."""
