"""Style and script of the scorecard's page."""

from __future__ import annotations

STYLE = """
h1, h2 { line-height: 1.2; }
body { max-width: 100rem; }
section.claims { margin-top: 2.5rem; }
section.claims > p { margin: .3rem 0 .8rem; max-width: 45rem; }
table.claims { table-layout: fixed; }
.claims th:nth-child(1) { width: 7.6rem; }
.claims th:nth-child(2) { width: 19%; }
.claims th:nth-child(4) { width: 8rem; }
.claims th:nth-child(5) { width: 9rem; }
.claims th:nth-child(6) { width: 9.3rem; }
.claims td, code { overflow-wrap: anywhere; }
.claims td small { display: block; margin-top: .3rem; }
.claims tr:target > td { background: #f5c51833; }
.claims dl { margin: 0; }
.claims dt { display: inline; opacity: .8; }
.claims dd { display: inline; font-variant-numeric: tabular-nums; margin: 0; }
.claims ul { list-style: none; margin: 0 0 .4rem; padding: 0; }
.claims summary { cursor: pointer; }
.mark { display: inline-block; font-size: .85em; margin-top: .3rem; }
table.totals { width: auto; }
table.totals td { text-align: right; }
table.totals .kind th { padding-top: 1rem; }
table.totals .kind small { display: block; font-weight: normal; }
table.totals tbody th { font-weight: normal; }
table.totals tbody .kind th { font-weight: bold; }
#filters { background: Canvas; border: solid #8886; border-width: 1px 0; margin-top: 2rem; padding: .6rem 0; }
#filters form { align-items: center; display: flex; flex-wrap: wrap; gap: .5rem 1rem; }
#filters fieldset { border: 0; display: flex; flex-wrap: wrap; gap: .3rem .8rem; margin: 0; padding: 0; }
#filters legend { float: left; margin-right: .8rem; padding: 0; }
#filters label { align-items: center; display: inline-flex; gap: .35rem; }
#filters :is(select, input, button) { font: inherit; }
#filters input[type=search] { width: 14rem; }
button.link { background: none; border: 0; color: LinkText; cursor: pointer; font: inherit; padding: 0; }
button.link { text-align: left; text-decoration: underline; }
button.link:disabled { color: inherit; cursor: auto; text-decoration: none; }
#count { display: block; font-weight: 600; margin-top: .4rem; }
[hidden] { display: none !important; }
@media screen and (min-width: 60rem) {
  #filters { position: sticky; top: 0; z-index: 1; }
  .claims tr { scroll-margin-top: 8rem; }
}
@media screen and (max-width: 60rem) {
  table.claims, .claims :is(tbody, tr, td) { display: block; }
  .claims thead { height: 1px; overflow: hidden; position: absolute; width: 1px; }
  .claims tr { border-top: 2px solid #8888; padding: .5rem 0; }
  .claims td { border: 0; padding: .2rem 0; }
  .claims td:empty { display: none; }
  .claims td[data-label]::before { content: attr(data-label); display: block; font-size: .85em; opacity: .8; }
}
@media screen and (max-width: 40rem) {
  body { margin: 1rem auto; }
  #filters :is(label, select, input[type=search]) { max-width: 100%; }
  table.totals, .totals :is(tbody, tr) { display: block; }
  .totals thead { height: 1px; overflow: hidden; position: absolute; width: 1px; }
  .totals tr { display: flex; flex-wrap: wrap; gap: .2rem .9rem; padding: .3rem 0; }
  .totals :is(tbody th, td) { border: 0; padding: 0; }
  .totals tbody th { flex-basis: 100%; }
  .totals td::before { content: attr(data-label) " "; opacity: .8; }
}
@media print {
  body { font-size: 9pt; margin: 0; max-width: none; }
  #filters { border: 0; margin: 0; position: static; }
  #filters form { display: none; }
  th, td { padding: .2rem .3rem; }
  .claims th:is(:nth-child(1), :nth-child(4), :nth-child(5), :nth-child(6)) { width: 13%; }
  .badge { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .claims tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""

# The filters stand in the address after #, as a query; an address that names a row instead shows every row.
SCRIPT = """
"use strict";
const form = document.querySelector("#filters form");
const sections = [...document.querySelectorAll("section.claims")];
const rows = [...document.querySelectorAll("tr[data-verdict]")].map((row) => ({
  row, section: row.closest("section"), text: row.textContent.toLowerCase(),
}));

function query() {
  return location.hash.includes("=") ? location.hash.slice(1) : "";
}

function chosen() {
  const entries = [...new FormData(form)].filter(([, value]) => value !== "");
  return new URLSearchParams(entries);
}

function fillForm(wanted) {
  for (const field of form.querySelectorAll("select, input")) {
    if (field.type === "checkbox") field.checked = wanted.getAll(field.name).includes(field.value);
    else field.value = wanted.get(field.name) || "";
  }
}

function filterRows() {
  const wanted = chosen();
  const [paper, kind, verdicts] = [wanted.get("paper"), wanted.get("kind"), wanted.getAll("verdict")];
  const words = (wanted.get("text") || "").toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const { row, section, text } of rows) {
    const matches = (!paper || section.dataset.paper === paper) && (!kind || section.dataset.kind === kind)
      && (!verdicts.length || verdicts.includes(row.dataset.verdict)) && words.every((word) => text.includes(word));
    row.hidden = !matches;
    shown += matches;
  }
  for (const section of sections) section.hidden = !section.querySelector("tr[data-verdict]:not([hidden])");
  document.getElementById("count").textContent = `${shown} of ${rows.length} claims shown`;
  document.getElementById("nothing").hidden = shown > 0;
}

function readAddress() {
  fillForm(new URLSearchParams(query()));
  filterRows();
  const target = location.hash && !query() && document.getElementById(location.hash.slice(1));
  if (target) target.scrollIntoView();
}

function writeAddress() {
  history.replaceState(null, "", `#${chosen()}`);
  filterRows();
}

// A figure's link inside Snakemake's report: its first view, which listens, shows the figure's section of the results.
function figureButton(link) {
  const name = link.dataset.figure;
  const button = Object.assign(document.createElement("button"), {
    type: "button", className: "link", disabled: true, textContent: link.textContent,
    onclick: () => parent.postMessage({ figure: name }, "*"),
  });
  addEventListener("message", ({ data }) => { button.disabled = !data.letters?.includes(name[0]); });
  link.replaceWith(button);
}

// Inside Snakemake's report the page has no folder that its links could start from.
if (!["file:", "http:", "https:"].includes(location.protocol)) {
  document.querySelectorAll("a[data-figure]").forEach(figureButton);
  parent.postMessage({ figure: null }, "*");
  for (const link of document.querySelectorAll("a:not([href^='#'])")) link.replaceWith(...link.childNodes);
  document.getElementById("inside").hidden = false;
}
for (const part of document.querySelectorAll("[data-script]")) part.hidden = false;
form.addEventListener("input", writeAddress);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(writeAddress));
window.addEventListener("hashchange", () => {
  readAddress();
  if (query()) document.getElementById("filters").scrollIntoView({ block: "nearest" });
});
readAddress();
"""
