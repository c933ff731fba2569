"""Interventions: what can be done to a benchmark to make it tell models apart, and what it is worth out of sample."""
