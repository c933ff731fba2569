"""Repeated sampling: what several tries at an instance are worth."""
