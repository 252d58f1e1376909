"""A Discord for demonstrations and tests: real protocol, invented people."""

from gateway.simulator.rest import demo_token
from gateway.simulator.server import SimulatedDiscord

__all__ = ["SimulatedDiscord", "demo_token"]
