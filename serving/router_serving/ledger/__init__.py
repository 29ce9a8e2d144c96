"""Budgets and rates that hold: reservations before a call, bills after it, caps never passed."""
