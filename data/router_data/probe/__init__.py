"""What an endpoint really does, measured by calling it: a checklist with a bounded bill."""
