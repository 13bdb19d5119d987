"""Policies and a catalog → a first suite: rows and personas that meet every branch, with what each persona sees."""

from rls.lab.seed.make import Seed, make_seed

__all__ = ["Seed", "make_seed"]
