"""identity.yaml → Identity, and every mistake in it at its place."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from jwt.algorithms import OKPAlgorithm

from rls.errors import PolicyInvalid
from rls.identity import load_identity, verify_token
from tests.identity.kit import (
    IDENTITY,
    NOW,
    SECRET,
    claims,
    identity_for,
    private_key,
    private_pem,
    public_pem,
    token,
    write_identity,
)

MINIMAL = """\
issuers:
  - name: https://a
    audiences: [rls]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {env: S}}]
"""
ENVIRONMENT = {"T": "~" * 40, "S": "0123456789abcdefghijklmnopqrstuvwxyz"}


def load(directory: Path, text: str, **more):
    return load_identity(write_identity(directory, text), environment=ENVIRONMENT, **more)


def test_defaults(tmp_path: Path) -> None:
    identity = load(tmp_path, MINIMAL)
    issuer = identity.issuers["https://a"]
    assert (issuer.max_lifetime, issuer.max_age, issuer.leeway, issuer.max_bytes) == (3600, None, 10, 8192)
    assert issuer.types == ("jwt",)
    assert (issuer.claims.subject, issuer.claims.roles) == (("user", "distinctId"), ("user", "role"))
    assert issuer.claims.attributes == ("user", "attributes")
    assert (identity.roles, dict(identity.attributes), identity.unknown_attributes) == (frozenset(), {}, "drop")
    assert identity.file == str(tmp_path / "identity.yaml")


def test_everything_declared(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.pem").write_bytes(public_pem("RS256"))
    member = {**OKPAlgorithm.to_jwk(private_key("EdDSA").public_key(), as_dict=True), "kid": "e1"}
    (tmp_path / "set.json").write_text(json.dumps({"keys": [member]}))
    identity = load(
        tmp_path,
        """
issuers:
  - name: https://a
    audiences: [x, y]
    algorithms: [RS256, RS512]
    keys: [{kid: k1, file: keys/a.pem}]
    max_lifetime: 600
    max_age: 300
    leeway: 0
    types: [JWT, application/at+JWT]
    max_bytes: 4096
    claims: {subject: /sub, roles: "/https:~1~1ns/roles", attributes: ""}
  - name: https://b
    audiences: [x]
    algorithms: [EdDSA]
    keys: [{jwks: {file: set.json}}]
roles: [explorer]
attributes:
  tenant: {type: string, required: true, readable: true, max_length: 64, pattern: "[a-z]+", description: who pays}
  levels: {type: decimal, list: true, max_items: 3, precision: 5, scale: 1, enum: [1, 2.5]}
""",
    )
    first, second = identity.issuers.values()
    assert first.keys["k1"].algorithms == {"RS256", "RS512"}
    assert first.types == ("jwt", "at+jwt")
    assert first.claims.roles == ("https://ns", "roles")
    assert first.claims.attributes == ()
    assert list(second.keys) == ["e1"]
    assert identity.readable == {"tenant"}
    assert identity.attributes["levels"].enum == (Decimal(1), Decimal("2.5"))
    assert identity.attributes["tenant"].pattern == "[a-z]+"


def test_version_changes_with_what_decides(tmp_path: Path) -> None:
    base = load(tmp_path, MINIMAL).version
    assert load(tmp_path, "# a comment\n" + MINIMAL).version == base
    other = {"S": ENVIRONMENT["S"][::-1]}
    changed = [
        load_identity(tmp_path, environment=other).version,
        load(tmp_path, MINIMAL + "roles: [a]").version,
        load(tmp_path, MINIMAL + "attributes: {a: {type: string}}").version,
        load(tmp_path, MINIMAL + "attributes: {a: {type: string, pattern: " + "a" * 300 + "}}").version,
        load(tmp_path, MINIMAL + "attributes: {a: {type: string, pattern: " + "a" * 301 + "}}").version,
        load(tmp_path, MINIMAL + "    leeway: 11").version,
        load(tmp_path, MINIMAL + "unknown_attributes: refuse").version,
    ]
    assert len({base, *changed}) == len(changed) + 1


def test_version_is_the_same_in_every_process(tmp_path: Path) -> None:
    text = MINIMAL + "roles: [c, b, a]\nattributes: {a: {type: string, enum: [x, y, z]}}"
    write_identity(tmp_path, text)
    code = "import sys; from rls.identity import load_identity as l; print(l(sys.argv[1], environment={'S': sys.argv[2]}).version)"
    command = [sys.executable, "-c", code, str(tmp_path), ENVIRONMENT["S"]]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command, env={"PYTHONHASHSEED": "7", "PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == load(tmp_path, text).version


def test_secret_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET[20:60] + b"\n")
    text = MINIMAL.replace("env: S", "file: secret")
    assert load(tmp_path, text).issuers["https://a"].keys["k1"].material == SECRET[20:60]
    (tmp_path / "secret").write_bytes(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj\n")
    text = text.replace("file: secret", "file: secret, encoding: base64")
    assert load(tmp_path, text).issuers["https://a"].keys["k1"].material == SECRET[:36]


def test_without_keys_no_token_passes(tmp_path: Path) -> None:
    identity_for(tmp_path)
    identity = load_identity(tmp_path, keys="none")
    with pytest.raises(Exception, match="token rejected"):
        verify_token(token(claims()), identity, now=NOW)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, rls.identity; print([m for m in ('jwt', 'pydantic', 'ruamel', 'cryptography') if m in sys.modules])"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": root}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (("name: https://a", "name: ''"), ":2:11: name must be 1 to 255 printable characters without spaces around"),
        (("name: https://a", "name: ' a'"), ":2:11: name must be 1 to 255 printable characters without spaces around"),
        (("name: https://a", "nam: https://a"), ":2:5: unknown key `nam`; did you mean `name`?"),
        (("[rls]", "[]"), ":3:16: `issuers.0.audiences`: list should have at least 1 item after validation, not 0"),
        (("[rls]", "rls"), ":3:16: `issuers.0.audiences` must be a list"),
        (("[HS256]", "[none]"), ":4:17: algorithm `none` is not known; known are "),
        (("[HS256]", "[HS256, RS256]"), ":4:17: algorithms must be of one family; declare one issuer per family"),
        (("[HS256]", "[RS256]"), ":5:12: a secret is for HS algorithms only; give the issuer's public key as `file`"),
        (("[HS256]", "[HS512]"), ":5:12: secret has 36 bytes and needs 64; use a random one"),
        (("env: S", "env: NONE"), ":5:36: secret is not set; set the environment variable `NONE`"),
        (("env: S", "file: nowhere"), ":5:37: cannot read `nowhere`: no such file or directory"),
        (("env: S", ""), ":5:12: a secret needs one of `env`, `file`"),
        (("env: S", "env: S, file: b"), ":5:12: a secret needs one of `env`, `file`"),
        (("env: S", "env: T, encoding: base64"), ":5:12: secret is not base64"),
        (("kid: k1, ", ""), ":5:12: a key needs a `kid`; the token's header names it"),
        (("secret: {env: S}", "file: key.pem, secret: {env: S}"), ":5:12: a key needs one of `file`, `secret`, `jwks`"),
        (("secret: {env: S}", "file: private.pem"), ":5:12: file holds a private key where the public one belongs"),
        (
            ("secret: {env: S}", "jwks: {file: private.pem}"),
            ":5:12: a key set names its keys itself; take the `kid` away",
        ),
        (("kid: k1, secret: {env: S}", "jwks: {file: private.pem}"), ":5:12: file is not a JSON Web Key set"),
        (("}}]", "}}, {kid: k1, secret: {env: S}}]"), ":5:41: key `k1` is given twice"),
        (
            ("    keys:", "    max_lifetime: 0\n    keys:"),
            ":5:19: `issuers.0.max_lifetime`: input should be greater than",
        ),
        (("    keys:", "    leeway: 1e9\n    keys:"), ":5:13: `issuers.0.leeway` must be a whole number"),
        (("    keys:", "    max_bytes: 2000000\n    keys:"), ":5:16: `issuers.0.max_bytes`: input should be less than"),
        (
            ("    keys:", "    claims: {subject: user.id}\n    keys:"),
            ":5:23: must be a JSON pointer such as `/user/role`",
        ),
        (
            ("    keys:", "    claims: {subject: ''}\n    keys:"),
            ":5:23: must name a member of its own, such as `/user/role`",
        ),
        (("    keys:", "    claims: {roles: /user}\n    keys:"), ":5:21: must name a member of its own"),
        (("    keys:", "    claims: {subject: /a, roles: /a}\n    keys:"), ":5:23: must name a member of its own"),
    ],
)
def test_mistakes_in_an_issuer(tmp_path: Path, change: tuple[str, str], want: str) -> None:
    (tmp_path / "private.pem").write_bytes(private_pem("RS256"))
    text = MINIMAL.replace(*change, 1)
    if "private.pem" in text:
        text = text.replace("[HS256]", "[RS256]")
    with pytest.raises(PolicyInvalid) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'identity.yaml'}{want}")


@pytest.mark.parametrize(
    ("more", "want"),
    [
        ("roles: [a, a]", ":6:12: role `a` is declared twice"),
        ("roles: [1]", ":6:9: `roles.0` must be text; put it in quotes"),
        ("attributes: {subject: {type: string}}", ":6:14: `user.subject` is built in"),
        ("attributes: {Roles: {type: string}}", ":6:14: `user.Roles` is built in"),
        ("attributes: {a: {type: string}, A: {type: string}}", ":6:33: attribute `A` differs from `a` in case only"),
        ("attributes: {a-b: {type: string}}", ":6:14: attribute name is not usable; use letters"),
        ("attributes: {a: {type: text}}", ":6:24: `attributes.a.type` must be 'string', 'integer', "),
        ("attributes: {a: {}}", ":6:14: `attributes.a` lacks the key `type`"),
        ("attributes: {a: {type: string, lst: true}}", ":6:32: unknown key `lst`; did you mean `list`?"),
        ("attributes: {a: {type: string, list: 1}}", ":6:38: `attributes.a.list` must be true or false"),
        ("attributes: {a: {type: string, pattern: '['}}", ":6:41: `pattern` is not a regular expression"),
        ("attributes: {a: {type: integer, pattern: a}}", ":6:42: `pattern` is for a string only"),
        ("attributes: {a: {type: string, max_items: 3}}", ":6:43: `max_items` is for a list only"),
        ("attributes: {a: {type: string, scale: 3}}", ":6:39: `scale` is for a decimal only"),
        ("attributes: {a: {type: decimal, precision: 3}}", ":6:44: `scale` must be less than `precision`"),
        ("attributes: {a: {type: integer, enum: [1, '2']}}", ":6:43: item 2 is not of type integer as declared"),
        ("attributes: {a: {type: string, enum: []}}", ":6:38: `attributes.a.enum`: list should have at least 1 item"),
        ("unknown_attributes: keep", ":6:21: `unknown_attributes` must be 'drop' or 'refuse'"),
        (MINIMAL[9:], ":6:5: issuer `https://a` is declared twice"),
        ("---\nroles: []", ":7:1: identity file must be one document"),
    ],
)  # fmt: skip
def test_mistakes_in_the_rest(tmp_path: Path, more: str, want: str) -> None:
    if want.startswith(":6:5"):
        want = ":6:11" + want[4:]
    with pytest.raises(PolicyInvalid) as caught:
        load(tmp_path, MINIMAL + more)
    assert str(caught.value).startswith(f"{tmp_path / 'identity.yaml'}{want}")


def test_claims_beside_attributes_limit_what_attributes_may_be(tmp_path: Path) -> None:
    flat = MINIMAL + "    claims: {subject: /sub, roles: /roles, attributes: ''}\n"
    inner = MINIMAL + "    claims: {subject: /user/id, roles: /roles, attributes: /user}\n"
    for text, want in (
        (
            flat + "unknown_attributes: refuse",
            ":7:21: unknown attributes cannot be refused where issuer `https://a` puts",
        ),
        (
            inner + "unknown_attributes: refuse",
            ":7:21: unknown attributes cannot be refused where issuer `https://a` puts",
        ),
        (flat + "attributes: {iat: {type: integer}}", ":7:14: attribute `iat` has the name of another claim of issuer"),
        (inner + "attributes: {id: {type: string}}", ":7:14: attribute `id` has the name of another claim of issuer"),
    ):
        with pytest.raises(PolicyInvalid) as caught:
            load(tmp_path, text)
        assert want in str(caught.value)
    assert "iat" in load(tmp_path, inner + "attributes: {iat: {type: integer}}").attributes


def test_no_identity_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_identity(tmp_path)
    assert caught.value.code == "policy.unreadable"


def test_template_of_the_other_tests_loads(tmp_path: Path) -> None:
    assert "{algorithm}" in IDENTITY
    assert set(identity_for(tmp_path).attributes) >= {"tenant", "regions"}
