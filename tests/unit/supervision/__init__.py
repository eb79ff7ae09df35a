"""Tests of the heart: first what is decided, then what is done."""
