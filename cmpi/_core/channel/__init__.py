"""What the two ends of a channel decide: contracts, credit, closing, places for large payloads. Pure."""
