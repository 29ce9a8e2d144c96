"""The commands of `router-train`, a module for each family."""
