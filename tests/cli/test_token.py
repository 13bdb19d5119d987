"""`rls token`: every command, as people and scripts use it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rls.cli.app import run

Run = Callable[..., tuple[int, str, str]]

IDENTITY = """
issuers:
  - name: https://app.test
    audiences: [shop]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {file: app.secret, encoding: base64}}]
revocation: {file: revoked.sqlite}
roles: [explorer]
attributes:
  tenant: {type: string, required: true}
  region: {type: string}
  level: {type: integer}
"""
POLICIES = 'relation: orders\npolicies: [{name: p, using: "tenant_id = user.tenant AND region = user.region"}]\n'
PERSONAS = """
personas:
  eve: {subject: u-1, roles: [explorer], attributes: {tenant: acme, region: EMEA}}
  bot: {subject: u-1, roles: [explorer], attributes: {tenant: acme, level: 3}, agent: assistant}
  mail: {subject: ada@post.test, attributes: {tenant: acme, region: EMEA}}
"""


@pytest.fixture
def rls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in a directory with policies, as `RLS_POLICIES`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("RLS_POLICIES", "policies")
    for name in ("RLS_TOKEN", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    call("token", "keys", "generate", "--algorithm", "HS256", "--kid", "app", "--out", "policies")
    for name, text in (("identity", IDENTITY), ("orders", POLICIES), ("personas", PERSONAS)):
        (tmp_path / "policies" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return call


@pytest.fixture
def token(rls: Run) -> Callable[[str], str]:
    return lambda persona: rls("token", "mint", "--as", persona)[1].strip()


def test_verify(rls: Run, token: Callable[[str], str]) -> None:
    code, printed, _ = rls("token", "verify", token("eve"))
    assert code == 0
    assert printed.startswith("accepted  u-1, explorer, for ")
    assert rls("token", "verify", token("bot"))[1].startswith("accepted  u-1, through assistant, explorer")
    told = json.loads(rls("token", "verify", "--json", token("bot"))[1])
    assert (told["accepted"], told["actors"], told["attributes"]) == (
        True,
        ["assistant"],
        {"tenant": "acme", "level": 3},
    )
    head, body, _ = token("eve").split(".")
    code, printed, _ = rls("token", "verify", f"{head}.{body}.AAAA")
    assert (code, printed.split()[:2]) == (4, ["rejected", "bad_signature"])
    assert json.loads(rls("token", "verify", "--json", "x")[1])["findings"][0]["reason"] == "malformed"


def test_lint(rls: Run, token: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, printed, _ = rls("token", "lint", token("eve"))
    assert (code, printed.split()[:2]) == (0, ["note", "shared_secret"])
    assert rls("token", "lint", "--strict")[0] == 1
    code, printed, _ = rls("token", "lint", token("mail"))
    assert code == 1
    assert "warning subject.mail" in printed
    assert "@" not in printed
    monkeypatch.setenv("RLS_TOKEN", token("bot"))
    told = json.loads(rls("token", "lint", "--json")[1])["advice"]
    assert {one["code"] for one in told} == {"missing", "unused", "shared_secret"}
    assert rls("token", "lint", "x.y.z")[0] == 1


def test_revoke(rls: Run, token: Callable[[str], str]) -> None:
    first, second = token("eve"), token("eve")
    token_id = json.loads(rls("token", "inspect", "--json", first)[1])["claims"]["jti"]
    assert rls("token", "revoke", "--id", token_id)[:2] == (0, f"revoked: token {token_id}\n")
    assert "rejected  revoked" in rls("token", "verify", first)[1]
    assert rls("token", "verify", second)[0] == 0
    told = json.loads(rls("token", "revoke", "--subject", "u-1", "--before", "1999999999", "--json")[1])
    assert told["revoked"]["before"] == 1999999999
    assert "rejected  revoked" in rls("token", "verify", second)[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give one of"),
        (("--id", "x", "--subject", "y"), "give one of"),
        (("--id", "x", "--before", "1"), "give one of"),
        (("--id", "x", "--issuer", "nobody"), "--issuer"),
    ],
)
def test_revoke_needs_to_know_what(rls: Run, arguments: tuple[str, ...], told: str) -> None:
    code, _, error = rls("token", "revoke", *arguments)
    assert code == 2
    assert told in error


def test_revoking_in_memory_would_be_nothing(rls: Run) -> None:
    file = Path("policies/identity.yaml")
    file.write_text(file.read_text().replace("revocation: {file: revoked.sqlite}\n", ""))
    code, _, error = rls("token", "revoke", "--id", "x")
    assert code == 2
    assert "kept in memory" in error


def test_generate(rls: Run) -> None:
    code, printed, _ = rls(
        "token", "keys", "generate", "--algorithm", "ES256", "--kid", "a-1", "--out", "keys", "--json"
    )
    told = json.loads(printed)
    assert (code, told["entry"]) == (0, "{kid: a-1, file: a-1.public.pem}")
    private = Path(told["files"]["private"])
    assert "PRIVATE KEY" in private.read_text()
    assert "PRIVATE" not in Path(told["files"]["public"]).read_text()
    if os.name == "posix":
        assert private.stat().st_mode & 0o777 == 0o600
    code, _, error = rls("token", "keys", "generate", "--algorithm", "ES256", "--kid", "a-1", "--out", "keys")
    assert code == 2
    assert "file exists" in error
    assert rls("token", "keys", "generate", "--algorithm", "none", "--out", "keys")[0] == 2
    assert rls("token", "keys", "generate", "--algorithm", "ES256", "--kid", "../x", "--out", "keys")[0] == 2
    assert "PRIVATE" not in printed


def test_rotate_and_publish(rls: Run) -> None:
    steps = ("token", "keys", "rotate", "set.json")
    for kid in ("one", "two"):
        code, printed, _ = rls(*steps, "--algorithm", "EdDSA", "--kid", kid, "--out", "keys")
        assert code == 0
        assert f"key `{kid}` now" in printed
    assert [key["kid"] for key in json.loads(Path("set.json").read_text())["keys"]] == ["one", "two"]
    assert rls(*steps, "--retire", "one")[0] == 0
    assert [key["kid"] for key in json.loads(Path("set.json").read_text())["keys"]] == ["two"]
    code, _, error = rls(*steps, "--retire", "two")
    assert (code, "no key would be left" in error) == (2, True)
    assert rls(*steps)[0] == rls(*steps, "--algorithm", "EdDSA")[0] == 2
    assert rls("token", "keys", "rotate", "nowhere.json", "--retire", "x")[0] == 2
    code, printed, _ = rls("token", "keys", "jwks", "--algorithm", "EdDSA", "a=keys/one.public.pem")
    assert (code, [key["kid"] for key in json.loads(printed)["keys"]]) == (0, ["a"])
    assert rls("token", "keys", "jwks", "--algorithm", "EdDSA", "a=keys/one.private.pem")[0] == 2
    assert rls("token", "keys", "jwks", "--algorithm", "EdDSA", "keys/one.public.pem")[0] == 2
    assert sorted(file.name for file in Path().iterdir() if file.name.startswith(".")) == []
