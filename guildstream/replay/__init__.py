"""Files of events back into the stream: reading, packing, publishing, and waiting until all is loaded."""
