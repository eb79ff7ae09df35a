"""Tests of the supervision: first the decisions, then the actions."""
