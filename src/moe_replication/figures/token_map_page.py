"""Paper A: the token map as one self-contained web page, every token with its loss and its experts by layer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import polars as pl

from moe_replication.figures import style, token_map
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper
from moe_replication.files import write_text

COLUMNS = (*token_map.COLUMNS, "experts")
FIRST = "et"  # the condition shown on opening

STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #16181b; --soft: #5b6168; --line: #d5d8dc; --none: #b3400c;
  --shade: 0, 98, 168; --most: 0.62; }
@media (prefers-color-scheme: dark) { :root { --page: #15181c; --ink: #eceef0; --soft: #a3abb3; --line: #3a4047;
  --none: #ff9d6b; --shade: 74, 170, 240; --most: 0.5; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 9rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.25rem; margin: 0 0 .3rem; }
p { margin: .3rem 0 .8rem; color: var(--soft); max-width: 48rem; }
.choices { display: flex; flex-wrap: wrap; gap: .6rem 1.2rem; margin: .8rem 0; }
label { color: var(--soft); }
select { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--line);
  border-radius: 4px; padding: .15rem .3rem; }
#legend { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; color: var(--soft); }
#legend span { color: var(--ink); padding: 0 .5rem; border-radius: 3px; }
#text { margin-top: 1rem; font: 15px/1.9 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
#text span { padding: .12rem 0; border-radius: 2px; box-shadow: inset -1px 0 var(--page); }
.none { border-bottom: 2px dotted var(--none); }
#text span.chosen { outline: 2px solid var(--ink); }
#values { position: fixed; inset: auto 0 0; padding: .6rem 1.2rem; background: var(--page);
  border-top: 1px solid var(--line); max-height: 8rem; overflow: auto; }
#values div { max-width: 62rem; margin: 0 auto; }
#values .layers { display: flex; flex-wrap: wrap; gap: 0 1.1rem; color: var(--soft); }
"""

SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const at = name => document.getElementById(name);
const text = at("text"), legend = at("legend");
let tokens = [];

function make(kind, content, name) {
  const node = document.createElement(kind);
  node.textContent = content;
  if (name) node.className = name;
  return node;
}
function fanout(token, layer) { return layer === "all" ? token.total : token.experts[layer].length; }
function tokensOf(condition, domain, sample) {
  const map = ((data.maps[condition] || {})[domain] || {})[sample];
  if (!map) return [];
  return data.passages[domain][sample].map((word, n) => ({ word, loss: map.losses[n], total: map.totals[n],
    experts: Object.fromEntries(Object.entries(map.experts).map(([layer, lists]) => [layer, lists[n]])) }));
}
function scaleTop(domain, sample, layer) {
  const values = Object.keys(data.maps).flatMap(name => tokensOf(name, domain, sample))
    .filter(token => layer === "all" || token.experts[layer]).map(token => fanout(token, layer)).sort((a, b) => a - b);
  return Math.max(1, values[Math.floor(0.98 * (values.length - 1))] || 1);
}
function shade(node, value, top) {
  if (value === 0) node.classList.add("none");
  else node.style.background = "rgba(var(--shade), calc(0.06 + var(--most) * " + Math.min(1, value / top) + "))";
}
function describe(token, n) {
  const loss = token.loss === null ? "unknown" : token.loss.toFixed(3) + " nats";
  return "token " + n + " " + JSON.stringify(token.word) + ", loss " + loss + ", fan-out " + token.total;
}
function layerLines(token) {
  return Object.entries(token.experts).map(([layer, ids]) => "layer " + layer + ": " + (ids.join(", ") || "none"));
}
function choose(n) {
  if (!tokens[n]) return;
  text.querySelectorAll(".chosen").forEach(node => node.classList.remove("chosen"));
  text.children[n].classList.add("chosen");
  text.dataset.chosen = n;
  const layers = make("div", "", "layers");
  layers.append(...layerLines(tokens[n]).map(line => make("span", line)));
  at("values").replaceChildren(make("div", describe(tokens[n], n)), layers);
}
function showLegend(top, layer) {
  const steps = Math.min(5, Math.floor(top));
  const values = [0, ...Array.from({ length: steps }, (_, n) => Math.round(top * (n + 1) / steps))];
  const what = layer === "all" ? "experts, summed over layers:" : "experts in layer " + layer + ":";
  legend.replaceChildren(make("b", what));
  values.forEach((value, n) => {
    const node = make("span", n === 0 ? "0, none" : value + (n === steps ? " or more" : ""));
    shade(node, value, top);
    legend.append(node);
  });
}
function show() {
  const [condition, domain, sample, layer] = ["condition", "domain", "sample", "layer"].map(name => at(name).value);
  tokens = tokensOf(condition, domain, sample).filter(token => layer === "all" || token.experts[layer]);
  const top = scaleTop(domain, sample, layer);
  showLegend(top, layer);
  text.replaceChildren(...tokens.map((token, n) => {
    const node = make("span", (token.word || "\\u00b7").replaceAll("\\n", "\\u21b5\\n"));
    node.title = [describe(token, n), ...layerLines(token)].join("\\n");
    shade(node, fanout(token, layer), top);
    return node;
  }));
  if (!tokens.length) text.append(make("i", "This condition has no such passage or layer."));
  choose(0);
}
const position = node => Array.prototype.indexOf.call(text.children, node);
["mouseover", "click"].forEach(event => text.addEventListener(event, e => {
  if (e.target.parentNode === text) choose(position(e.target));
}));
text.addEventListener("keydown", e => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (step) { e.preventDefault(); choose(Number(text.dataset.chosen) + step); }
});
document.querySelectorAll("select").forEach(node => node.addEventListener("change", show));
show();
"""

EXPLANATION = (
    "Every token is shaded by the number of routed experts that take it; tokens that none takes are underlined with "
    "dots. Point at a token, or press the arrow keys in the text, for its loss, its fan-out and its experts layer by "
    "layer. Routing is causal: EC and ET select by their cut-offs. The shades have one scale for all conditions. "
    "Shown is the first seed of each condition."
)


def page(table: pl.DataFrame, scale: str) -> str:
    """The page for table token_map: choice of condition, domain, sample and layer. Works offline, loads nothing.

    Its data are JSON in a script element, where no "<" is left that could end it.
    """
    rows = of_paper(table, THRESHOLD, COLUMNS)
    heading = f"Token map, paper A, scale {scale}"
    if rows.is_empty():
        return _document(heading, "<p>There are no token maps at this scale.</p>")
    rows = rows.filter(pl.col("seed") == pl.col("seed").min().over("condition"))
    rows = rows.sort("condition", "domain", "sample", "position", "layer", nulls_last=False)
    titles = dict(rows.select("condition", pl.col("title").fill_null(pl.col("condition"))).unique().iter_rows())
    layers = rows["layer"].drop_nulls().unique().sort().to_list()
    choices = {
        "condition": [(name, titles[name]) for name in style.condition_order(rows)],
        "domain": [(name, name) for name in rows["domain"].unique().sort(descending=True)],
        "sample": [(sample, sample) for sample in rows["sample"].unique().sort()],
        "layer": [("all", "all layers"), *((layer, layer) for layer in layers)],
    }
    body = (
        f"<p>{escape(EXPLANATION)}</p>\n"
        f'<div class="choices">{"".join(_choice(name, options) for name, options in choices.items())}</div>\n'
        '<div id="legend"></div>\n<div id="text" tabindex="0" role="group" aria-label="tokens of the passage"></div>\n'
        '<div id="values" aria-live="polite"></div>\n'
        f'<script id="data" type="application/json">{_embedded(page_data(rows))}</script>\n<script>{SCRIPT}</script>'
    )
    return _document(heading, body)


def page_data(rows: pl.DataFrame) -> dict:
    """Texts by domain and sample, and by condition losses (nats), totals and experts of every layer, in token order.

    All conditions of a scale share one tokenizer, so a passage has one list of texts.
    """
    passages: dict[str, dict] = {}
    maps: dict[str, dict] = {}
    for (condition, domain, sample), part in rows.group_by("condition", "domain", "sample", maintain_order=True):
        total = part.filter(pl.col("layer").is_null())
        passages.setdefault(domain, {})[str(sample)] = total["text"].to_list()
        layers = part.drop_nulls("layer").sort("layer", "position").partition_by("layer", maintain_order=True)
        maps.setdefault(condition, {}).setdefault(domain, {})[str(sample)] = {
            "losses": [None if loss is None else round(loss, 4) for loss in total["loss"].fill_nan(None)],
            "totals": [int(value) for value in total["fanout"]],
            "experts": {str(layer["layer"][0]): layer["experts"].to_list() for layer in layers},
        }
    return {"passages": passages, "maps": maps}


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig04a-token-map: the picture of token_map.draw_overview, and out_base.html with every passage and layer."""
    token_map.draw_overview(tables, info, out_base)
    base = Path(out_base)
    write_text(base.with_name(f"{base.name}.html"), page(tables["probe-token_map"], info.scale))


def _choice(name: str, options: Iterable[tuple[object, object]]) -> str:
    inner = "".join(
        f'<option value="{escape(str(key))}"{" selected" if key == FIRST else ""}>{escape(str(label))}</option>'
        for key, label in options
    )
    return f'<label>{name} <select id="{name}">{inner}</select></label>'


def _embedded(data: dict) -> str:
    """JSON that is safe inside a script element: no character that HTML reads."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _document(heading: str, body: str) -> str:
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        f"<title>{escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(heading)}</h1>\n{body}\n</body>\n</html>\n"
    )
