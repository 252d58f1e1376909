"""Migrations, functions and named queries, read as package data."""
