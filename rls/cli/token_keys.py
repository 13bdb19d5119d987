"""`rls token keys`: make keys, publish them as a set, exchange them without refusing a token."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import json_option, read_text

if TYPE_CHECKING:
    from rls.identity.make_keys import NewKey

__all__ = ["keys"]

algorithm_option = click.option(
    "--algorithm", required=True, metavar="NAME", help="ES256, EdDSA, RS256, HS256 …; `dir` and A256KW encrypt."
)
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where the new files go; nothing is overwritten.",
)


@click.group()
def keys() -> None:
    """Make keys, publish and exchange them."""


@keys.command()
@algorithm_option
@click.option("--kid", metavar="ID", help="The key's name in tokens; default: random.")
@out_option
@json_option
def generate(*, algorithm: str, kid: str | None, out: Path, as_json: bool) -> None:
    """Make a key pair or a secret, in files that only you can read, and show how to declare it."""
    from rls.identity import generate_key

    made = generate_key(algorithm, kid=_check_kid(kid))
    files = _write_key(made, out)
    public = files.get("public", files["private"]).name
    entry = f"{{kid: {made.kid}, file: {public}}}"
    if made.public is None:
        entry = f"{{kid: {made.kid}, secret: {{file: {public}, encoding: base64}}}}"
    if as_json:
        _print_json({"kid": made.kid, "files": {k: str(v) for k, v in files.items()}, "entry": entry})
        return
    for kind, file in files.items():
        click.echo(f"{kind}: {file}")
    click.echo(f"in identity.yaml: keys: [{entry}]")


@keys.command()
@algorithm_option
@json_option
@click.argument("pairs", metavar="KID=FILE...", nargs=-1, required=True)
def jwks(*, algorithm: str, as_json: bool, pairs: tuple[str, ...]) -> None:  # noqa: ARG001 (it is JSON anyhow)
    """Print public keys in PEM as a JWK set."""
    from rls.identity.make_keys import add_to_set, public_jwk

    text: str | None = None
    for pair in pairs:
        kid, equals, file = pair.partition("=")
        if not equals or not kid:
            raise click.UsageError(f"`{pair}` is not KID=FILE")
        text = add_to_set(text, public_jwk(read_text(Path(file), "key"), kid=kid, algorithm=algorithm))
    click.echo(text, nl=False)


@keys.command()
@click.argument("file", metavar="SET", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--algorithm", metavar="NAME", help="Add a new key for this algorithm.")
@click.option("--kid", metavar="ID", help="The new key's name; default: random.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where its files go.")
@click.option("--retire", metavar="ID", multiple=True, help="Take a key out, when all it signed has expired.")
@json_option
def rotate(
    *, file: Path, algorithm: str | None, kid: str | None, out: Path | None, retire: tuple[str, ...], as_json: bool
) -> None:
    """Exchange keys of a JWK set file: first add the next one, later retire the old one.

    The new key's public part is in SET at once. Let it sign only when every verifier has read the set again, and retire
    the old key only when the last token it signed has expired.
    """
    from rls.identity.make_keys import add_to_set, generate_key, public_jwk, retire_from_set

    if (algorithm is None) == (not retire) or (algorithm is None) != (out is None):
        raise click.UsageError("give `--algorithm` and `--out` to add a key, or `--retire` to take one out")
    text = read_text(file, "key set") if file.exists() else None
    files: dict[str, Path] = {}
    added = None
    if algorithm is not None and out is not None:
        made = generate_key(algorithm, kid=_check_kid(kid))
        if made.public is None:
            raise click.UsageError("a secret is never published; make one with `rls token keys generate`")
        text = add_to_set(text, public_jwk(made.public, kid=made.kid, algorithm=algorithm))
        files, added = _write_key(made, out), made.kid
    elif text is None:
        raise click.UsageError(f"there is no `{file}`")
    else:
        text = retire_from_set(text, retire)
    _replace(file, text)
    if as_json:
        _print_json({"added": added, "retired": list(retire), "files": {k: str(v) for k, v in files.items()}})
        return
    for kind, written in files.items():
        click.echo(f"{kind}: {written}")
    if added is not None:
        click.echo(f"{file} has the key `{added}` now; sign with it once every verifier has read the set again")
    for gone in retire:
        click.echo(f"{file} has the key `{gone}` no more")


def _check_kid(kid: str | None) -> str | None:
    # It becomes a file's name.
    if kid is not None and not (kid.replace("-", "").replace("_", "").isalnum() and kid.isascii() and len(kid) <= 64):
        raise click.UsageError("`--kid` is up to 64 letters, digits, `-` and `_`")
    return kid


def _write_key(made: NewKey, out: Path) -> dict[str, Path]:
    out.mkdir(parents=True, exist_ok=True)
    if made.public is None:
        return {"private": _create(out / f"{made.kid}.secret", made.private, 0o600)}
    private = _create(out / f"{made.kid}.private.pem", made.private, 0o600)
    return {"private": private, "public": _create(out / f"{made.kid}.public.pem", made.public, 0o644)}


def _create(file: Path, text: str, mode: int) -> Path:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise click.UsageError(f"cannot write `{file}`: {reason}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(text)
    return file


def _replace(file: Path, text: str) -> None:
    """As a whole: who reads the set meanwhile finds the old one or the new one."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _create(beside, text, 0o644).replace(file)
    finally:
        with suppress(OSError):
            beside.unlink()


def _print_json(told: dict[str, object]) -> None:
    from rls.cli.as_json import dump_json

    click.echo(dump_json(told))
