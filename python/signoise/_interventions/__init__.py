"""Interventions that improve a benchmark."""
