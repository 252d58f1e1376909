"""A Discord for demonstrations and tests: real protocol, invented people."""

from gateway.simulator.server import SimulatedDiscord, demo_token

__all__ = ["SimulatedDiscord", "demo_token"]
