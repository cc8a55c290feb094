"""Journeys: several commands in a row, as users give them."""
