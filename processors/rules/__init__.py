"""Pure rules: what a window, a session and a point are. No I/O, no clock."""
