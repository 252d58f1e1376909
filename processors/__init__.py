"""The processors: a Faust app that turns events into results."""
