"""Tests of proxy.policy.builtin."""
