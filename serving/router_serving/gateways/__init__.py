"""What gateways load into their own process to ask the router and to report back to it."""
