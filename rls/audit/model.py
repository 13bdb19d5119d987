"""The shape of audit.yaml, as strict models: unknown keys and wrong types are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["AuditFile", "HeadsEntry", "KeySource"]

DAY = 86_400


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class KeySource(Strict):
    """Where a key is: an environment variable, or a file relative to audit.yaml."""

    env: Annotated[str, Field(min_length=1)] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> KeySource:
        if (self.env is None) == (self.file is None):
            raise ValueError("a key needs one of `env`, `file`")
        return self


class HeadsEntry(Strict):
    """How often a line names the ends of all chains: after so many records, or so many seconds."""

    records: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000
    seconds: Annotated[int, Field(ge=1, le=DAY)] = 60


class AuditFile(Strict):
    """What is recorded, and how it is kept.

    sql            of a query's text: all of it, its shape without literals, or nothing
    hash_key       key of the hashes that stand for attributes
    signing_key    Ed25519 key that signs the chain
    durability     a record survives a failure of the machine (disk) or of the process
    rotate_bytes   size of a file in a directory at which the next one begins
    heads          how often a line names the ends of all chains
    opentelemetry  told to OpenTelemetry as well
    anchor         file outside of the log's directory that keeps the newest ends
    """

    sql: Literal["full", "shape", "none"] = "full"
    hash_key: KeySource | None = None
    signing_key: KeySource | None = None
    durability: Literal["disk", "process"] = "disk"
    rotate_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 40)] = 64 << 20
    heads: HeadsEntry = HeadsEntry()
    opentelemetry: bool = False
    anchor: Annotated[str, Field(min_length=1)] | None = None
