"""Tests of rules: samples, and what the rules must make of them; in the format of `promtool test rules`."""
