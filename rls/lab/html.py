"""Parts of reports → one HTML page that needs nothing else: no script, no font, no picture from anywhere.

Or a fragment of a notebook's page. Owns that every text which came from outside is escaped, and the look that all
reports share, in light and dark.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Iterable, Sequence

__all__ = ["Html", "fragment", "page", "table", "tag", "text"]

# Light values first; `prefers-color-scheme` and print choose.
_PAGE = """
:root{color-scheme:light dark;--ink:#1d2430;--soft:#5c6675;--line:#dfe3ea;--paper:#fff;--panel:#f6f7f9;--good:#18794e;
--good-bg:#e3f5ea;--bad:#b4232c;--bad-bg:#fde8e8;--warn:#8a5a00;--warn-bg:#fdf1d8;--hot:#f0883e}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa4b2;--line:#333b48;--paper:#14181f;--panel:#1c222c;
--good:#5fd39a;--good-bg:#12351f;--bad:#ff8b8b;--bad-bg:#451a1d;--warn:#f0c060;--warn-bg:#3d2f10;--hot:#b4561a}}
body{margin:0 auto;max-width:1180px;padding:2.2rem 1.6rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
@media (max-width:600px){body{padding:1.2rem .8rem 2rem}}
body:has(table.grid){max-width:1600px}body:has(table.dense){max-width:none}
@media print{body{max-width:none;padding:0}details{display:block}}
"""
# In somebody else's page: that page's text colour, whatever its theme is, and the other colours mixed from it.
_GUEST = """
.rls{--ink:currentColor;--soft:color-mix(in srgb,currentColor 62%,transparent);
--line:color-mix(in srgb,currentColor 20%,transparent);--panel:color-mix(in srgb,currentColor 6%,transparent);
--paper:var(--jp-layout-color0,var(--vscode-editor-background,Canvas));
--good:color-mix(in srgb,currentColor 30%,#1d9a62);--good-bg:color-mix(in srgb,#1d9a62 18%,transparent);
--bad:color-mix(in srgb,currentColor 25%,#dd3b44);--bad-bg:color-mix(in srgb,#dd3b44 18%,transparent);
--warn:color-mix(in srgb,currentColor 30%,#c98a12);--warn-bg:color-mix(in srgb,#c98a12 20%,transparent);
--hot:#cf6c22;font-size:13px;line-height:1.45}
"""
_PARTS = """
*{box-sizing:border-box}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0}a{color:inherit;text-decoration-color:var(--soft)}.nowrap{white-space:nowrap}
.soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
code,pre,td.value{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.87em}
pre{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:.7rem .9rem;overflow:auto;
margin:.4rem 0;clear:both}
.cards{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.1rem 0}
.card{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:.6rem 1.1rem;min-width:7rem}
.card b{display:block;font-size:1.5rem;line-height:1.25}.card span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;margin:.5rem 0}th{font-weight:600;text-align:left}
th,td{text-align:left;padding:.28rem .7rem;border-bottom:1px solid var(--line);vertical-align:top}
td.number,th.number{text-align:right}
.scroll{overflow:auto}.scroll table{margin:0}
table.grid{border-collapse:separate;border-spacing:3px}table.grid td,table.grid th{border:0}
table.grid td{border-radius:5px;text-align:center;padding:.25rem .3rem;min-width:3.4rem;white-space:nowrap;
vertical-align:middle}
table.grid th{font-size:.86rem;vertical-align:bottom;text-align:center;padding:.25rem .3rem}
table.grid th.row{position:sticky;left:0;background:var(--paper);text-align:left;vertical-align:middle;
white-space:nowrap}
td.passed{background:var(--good-bg);color:var(--good)}td.failed,td.error{background:var(--bad-bg);color:var(--bad)}
td.blank{color:var(--soft)}table.grid td.plain{text-align:right;min-width:0}th.open{color:var(--warn)}
td.heat{background:color-mix(in srgb,var(--hot) calc(var(--heat)*88%),var(--panel));line-height:1.2}
table.dense{border-spacing:2px}table.dense td{min-width:2.2rem;padding:.12rem .2rem;font-size:.78rem}
table.dense td br,table.dense td small{display:none}
table.dense th.name{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;vertical-align:bottom}
td.heat small{opacity:.75;font-weight:400}.legend{font-size:.85rem}
section.case{border:1px solid var(--line);border-left:4px solid var(--bad);border-radius:8px;padding:.6rem 1rem;
margin:.8rem 0}
.place{float:right;color:var(--soft);font-size:.85rem}.why{color:var(--soft)}
ins,del{text-decoration:none;display:block;min-width:16rem}
ins{color:var(--good)}del{color:var(--bad)}
.bar{display:flex;gap:1px;width:9rem;height:.8rem;margin-top:.25rem;border-radius:3px;overflow:hidden}
.bar .kept{background:color-mix(in srgb,var(--ink) 30%,transparent)}.bar .gained{background:var(--hot)}
.bar .lost{background:repeating-linear-gradient(45deg,var(--soft) 0 2px,transparent 2px 5px)}
ul.tree{list-style:none;margin:.1rem 0;padding-left:1.2rem}ul.tree li{margin:.15rem 0}
b.truth{display:inline-block;min-width:4.6em;font-size:.85em}
table.grid tr,.sql tr{background:none}
.sql table{width:100%}.sql td{width:50%}.sql pre{white-space:pre-wrap;border:0;margin:0;padding:.3rem .6rem}
.sql-keyword,.sql-guard_keyword{font-weight:600}.sql-guard,.sql-guard_keyword{color:var(--good)}
.sql-replaced{background:var(--warn-bg);color:var(--warn);border-radius:3px}.sql-string,.sql-number{color:var(--warn)}
.sql-parameter{font-weight:600;color:var(--warn)}.sql-comment{color:var(--soft)}
mark{border-radius:3px;padding:0 .12em;color:inherit;background:none}
mark.all{background:var(--good-bg);color:var(--good)}
mark.some{background:var(--warn-bg);color:var(--warn)}mark.none{background:var(--bad-bg);color:var(--bad)}
details>summary{cursor:pointer;color:var(--soft)}
"""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Html:
    """Anything as HTML text; `Html` stays what it is."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element; `_class` and the like lose their underscore, an attribute of None is left out.

    >>> tag("b", "1 < 2", _class="good")
    '<b class="good">1 &lt; 2</b>'
    """
    given = "".join(f' {k.strip("_")}="{html.escape(str(v))}"' for k, v in attributes.items() if v is not None)
    return Html(f"<{name}{given}>{''.join(map(text, content))}</{name}>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = ()) -> Html:
    """A table; `numbers` are columns aligned right."""
    kinds = ["number" if c in numbers else None for c in columns]
    head = tag("tr", *(tag("th", c, _class=k) for c, k in zip(columns, kinds, strict=True)))
    body = [tag("tr", *(tag("td", v, _class=k) for v, k in zip(row, kinds, strict=True))) for row in rows]
    return tag("div", tag("table", head, *body), _class="scroll")


def page(title: str, *content: object) -> str:
    """The whole document."""
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{html.escape(title)}</title>"
    head += f"<style>{_PAGE}{_PARTS}</style>"
    return f"<!doctype html>\n<html lang=en><head>{head}</head>\n<body>{''.join(map(text, content))}</body></html>\n"


def fragment(*content: object) -> str:
    """A part of a page that is not ours: its styles reach nothing else, its colours follow the page's text."""
    return f"<div class=rls><style>{_scoped_style()}</style>{''.join(map(text, content))}</div>"


@functools.cache
def _scoped_style() -> str:
    """The parts' styles, for what stands in a fragment only; named so often, to win over the page's own."""
    rules = re.findall(r"([^{}]+)\{([^}]*)\}", _PARTS)
    scoped = (
        "".join([",".join(f".rls.rls.rls {one.strip()}" for one in names.split(",")), "{", body, "}"])
        for names, body in rules
    )
    return _GUEST + "\n".join(scoped)
