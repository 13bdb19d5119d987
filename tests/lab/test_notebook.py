"""Notebooks: a real one is run from end to end; what is shown is escaped, bounded, and needs nothing from anywhere."""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

import rls
from rls import lab
from rls.engines.base import Fetched
from rls.lab.html import fragment
from rls.notebook.options import OptionsWrong, parse_line
from rls.notebook.plain import plain_text
from tests.lab.kit import ORDERS, write_database, write_shop
from tests.test_public_api import loaded_after

HOSTILE = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """What a browser would make of a fragment: its elements, and its texts apart from styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.names[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `shop` policies, `wider` ones and `shop.duckdb`."""
    place = tmp_path_factory.mktemp("notebook")
    write_shop(place / "shop")
    write_shop(place / "wider", orders=ORDERS.replace("region IN user.regions", "true"))
    write_database(place / "shop.duckdb")
    return place


@pytest.fixture
def world(shop: Path) -> Iterator[Any]:
    with lab.open_directory(shop / "shop", shop / "shop.duckdb") as opened:
        yield opened


@pytest.fixture
def shell(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell of its own, in the shop's directory, with the extension."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.chdir(shop)
    for name in ("RLS_POLICIES", "RLS_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    made = InteractiveShell(config=Config(HistoryManager={"enabled": False}, InteractiveShell={"colors": "nocolor"}))
    made.run_line_magic("load_ext", "rls")
    yield made
    atexit.unregister(made.atexit_operations)


def said(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a cell that fails prints."""
    capsys.readouterr()
    assert not shell.run_cell(cell, store_history=False).success
    out, err = capsys.readouterr()
    return out + err


def test_a_real_notebook_from_end_to_end(shop: Path) -> None:
    cells = [
        "%load_ext rls",
        "%rls --policies shop --database shop.duckdb --as eve",
        "%%rls\nSELECT id, email FROM orders",
        "%%rls --as max --explain\nSELECT count(*) FROM orders",
        "%%rls --why\nSELECT * FROM orders WHERE amount > 100",
        "%rls --matrix",
        "least = 15",
        "%rls --as max --bind least --out dear SELECT id FROM orders WHERE amount > $least ORDER BY id",
        "dear.rows",
        "%%rls\nSELECT margin\nFROM orders",
        """
from pathlib import Path
import rls
from rls import lab
with lab.open_directory(Path("shop"), Path("shop.duckdb")) as world:
    diff = lab.compute_diff(world, world.policies, lab.open_policies("wider"))
diff""",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = {**os.environ, "PYTHONPATH": str(Path(rls.__file__).parents[1])}
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True,
                            resources={"metadata": {"path": str(shop)}})  # fmt: skip
    client.execute(env=environment)
    outputs = [cell.outputs for cell in notebook.cells]
    assert [len(out) for out in outputs] == [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1]
    shown = {number: out[0]["data"] for number, out in enumerate(outputs) if out and "data" in out[0]}
    assert "***@post.test" in Page(shown[2]["text/html"]).text
    assert "1 row" in shown[2]["text/plain"]
    assert "all_regions, own_tenant" in Page(shown[3]["text/html"]).text
    assert "WHERE (amount > 100)" in shown[4]["text/plain"]
    assert "tables everyone sees" in Page(shown[5]["text/html"]).text
    assert shown[8]["text/plain"] == "[(2,)]"
    assert "wider" in Page(shown[10]["text/html"]).texts
    assert "widenings: 1" in shown[10]["text/plain"]
    error = outputs[9][0]
    assert (error["output_type"], error["ename"]) == ("error", "QueryRefused")
    # What is wrong and where, and no frame of this library.
    assert error["traceback"][0].startswith("QueryRefused query.unknown_column: there is no column `margin`")
    assert error["traceback"][1:] == ["SELECT margin", "       ^"]


def test_errors_of_a_cell_say_what_to_write(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no policies: write `%rls --policies DIR` first, or set RLS_POLICIES" in said(shell, "%rls SELECT 1", capsys)
    assert "there is no option --polices; did you mean --policies?" in said(shell, "%rls --polices shop", capsys)
    assert "--policies needs a value" in said(shell, "%rls --policies", capsys)
    assert "there is no SQL" in said(shell, "%%rls --explain\n\n", capsys)
    assert "policy.unreadable" in said(shell, "%rls --policies nowhere --database shop.duckdb", capsys)
    assert "engine.database_" in said(shell, "%rls --policies shop --database nowhere.duckdb", capsys)
    # A setting that does not work is not kept.
    shell.run_line_magic("rls", "--policies shop --database shop.duckdb")
    assert "who asks? --as PERSONA: eve, max" in said(shell, "%rls SELECT 1", capsys)
    assert "there is no persona `evi`; did you mean `eve`?" in said(shell, "%rls --as evi SELECT 1", capsys)
    assert "there is no variable `nope` to bind" in said(shell, "%rls --as eve --bind nope SELECT $nope", capsys)
    assert "`a-b` cannot be one" in said(shell, "%rls --as eve --out a-b SELECT 1", capsys)
    assert "SQL begins on the line after" in said(shell, "%%rls --as eve SELECT 1\nFROM orders", capsys)
    assert "give one of --why, --explain" in said(shell, "%rls --as eve --why --explain SELECT 1", capsys)
    assert "query.statement_kind" in said(shell, "%rls --as eve DROP TABLE orders", capsys)


def test_policies_are_read_as_they_are_when_a_cell_runs(
    shell: InteractiveShell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = write_shop(tmp_path / "shop")
    ask = f"--policies {policies} --database shop.duckdb --as eve SELECT id FROM orders"
    assert shell.run_line_magic("rls", ask).rows == [(1,)]
    write_shop(policies, orders=ORDERS.replace("region IN user.regions", "true"))
    assert sorted(shell.run_line_magic("rls", ask).rows) == [(1,), (2,), (4,)]
    (policies / "orders.yaml").write_text("relation: orders\npolicies: [{name: all, usng: 'true'}]\n")
    told = said(shell, f"%rls {ask}", capsys)
    assert "orders.yaml:2:" in told
    assert "did you mean `using`?" in told
    assert "^" in told


def test_variables_reach_options_and_never_the_sql(shell: InteractiveShell) -> None:
    shell.run_line_magic("rls", "--policies shop --database shop.duckdb")
    shell.user_ns.update(who="max", least=3)
    cell = "%rls --as {who} --bind least --out found SELECT '{who} $who' AS t, id FROM orders WHERE id > $least"
    assert shell.run_cell(cell, store_history=False).success
    assert shell.user_ns["found"].rows == [("{who} $who", 4)]


def test_the_extension_can_be_unloaded(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("unload_ext", "rls")
    assert "`%rls` not found" in said(shell, "%rls --help", capsys)


def test_sql_is_passed_on_as_it_is_written() -> None:
    assert (
        parse_line("--as eve -- a comment\nSELECT 'it''s' AS \"x y\"").sql == "-- a comment\nSELECT 'it''s' AS \"x y\""
    )
    assert parse_line("--policies 'my shop' --database=x.duckdb").given == {
        "policies": "my shop",
        "database": "x.duckdb",
    }
    with pytest.raises(OptionsWrong):
        parse_line("--as")


def test_everything_shown_is_escaped(world: Any) -> None:
    shown = rls.Result(
        Fetched((HOSTILE, "n"), ("VARCHAR", "INTEGER"), 2, [(HOSTILE, 1), (None, None)]), audit_id="a", export=True
    )._repr_html_()
    page = Page(shown)
    assert page.texts.count(HOSTILE) == 2
    assert "script" not in page.names
    explained = Page(
        world.engine.explain(world.personas["eve"], f"SELECT '{HOSTILE.replace(chr(39), '')}'")._repr_html_()
    )
    assert "script" not in explained.names
    assert "<script>" in explained.text


@pytest.mark.parametrize("what", ["result", "explanation", "matrix", "row", "query", "diff", "run", "coverage"])
def test_what_is_shown_needs_nothing_from_anywhere(what: str, shop: Path, world: Any) -> None:
    policies = lab.open_policies(str(shop / "shop"))
    value: Any = {
        "result": lambda: world.session("eve").query("SELECT * FROM orders"),
        "explanation": lambda: world.engine.explain(world.personas["eve"], "SELECT * FROM orders"),
        "matrix": lambda: lab.compute_matrix(world),
        "row": lambda: lab.why_row(world, "eve", world.catalog.find(("orders",)), ["id"], [2]),
        "query": lambda: lab.why_query(world, "eve", "SELECT * FROM orders WHERE amount > 100"),
        "diff": lambda: lab.compute_diff(world, policies, lab.open_policies(str(shop / "wider"))),
        "run": lambda: lab.run_directory(shop / "shop"),
        "coverage": lambda: lab.measure_coverage(policies, lab.read_suites(shop / "shop", policies.identity)),
    }[what]()
    html = value._repr_html_()
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.names)
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert "url(" not in html
    assert "@import" not in html
    # Its styles reach nothing outside: every rule is about what stands in the fragment.
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    names = [name for rule in re.findall(r"([^{}]+)\{", style) for name in rule.split(",")]
    assert all(name.strip().startswith(".rls") for name in names)
    # The same as text, without colours: for shells, and for notebooks that are read as files.
    text = plain_text(value)
    assert text
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_showing_a_large_result_costs_what_is_shown() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    rows = 100_000
    table = pyarrow.table(
        {"n": pyarrow.array(range(rows), pyarrow.int32()), "long": pyarrow.array(["x" * 1000] * rows)}
    )
    result = rls.Result(Fetched(("n", "long"), ("INTEGER", "VARCHAR"), rows, table=table), audit_id="a", export=True)
    page = Page(result._repr_html_())
    assert page.names.count("tr") == 51
    assert "the first 50 of 100,000 rows" in page.text
    assert max(map(len, page.texts)) <= 300
    assert result._rows is None
    wide = Fetched(tuple(f"c{n}" for n in range(300)), ("INTEGER",) * 300, 1, [tuple(range(300))])
    page = Page(rls.Result(wide, audit_id="a", export=True)._repr_html_())
    assert "the first 60 of 300 columns" in page.text


def test_a_fragment_holds_its_own_style() -> None:
    assert fragment("a < b").startswith("<div class=rls><style>")
    assert fragment("a < b").endswith("</style>a &lt; b</div>")


def test_nothing_of_notebooks_is_imported_before_one_asks() -> None:
    assert loaded_after("import rls; rls.load_ipython_extension") == set()
