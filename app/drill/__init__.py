"""Drills: inject a fault into the local stack, and see whether alert and runbook do what they promise."""
