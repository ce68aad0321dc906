// All semaphores: the summary, the list, and the first steps where nobody has taken one yet. Also
// how full one of them is, as badges, bar and plot, wherever that is shown.
//
// Who holds and who waits is left to the drawer.

import { state } from "./server.js";
import { $, copyOf, element, exact, milliseconds, number, parts, permits, reconcile, say, still,
  tick, toggle, visible } from "./words.js";

const SLOTS = 91; // Of a plot: ninety samples of ten seconds, and the present.
const MANY = 12; // More semaphores than these are shown as dense rows, with a filter.
const MOST_ROWS = 1000;

const list = $("#list");
const order = $("#order");
let ranks = new Map(); // Of the semaphores, by name.
let touchedAt = -Infinity;

export function showSemaphores() {
  const all = state.semaphores;
  const isUsed = all.some((s) => s.holders || s.waiting) ||
    Object.keys(state.history?.semaphores ?? {}).length > 0;
  toggle($("#none"), all.length === 0);
  showFirst(all.length > 0 && !isUsed);
  showSummary(all);
  showList();
}

export const rowOf = (name) => list.kept?.get(name);

// Badges, bar and figures, in a row or in the opened semaphore.
export function showUse(root, s) {
  const shown = parts(root);
  say(shown.acquired, number(s.acquired));
  say(shown.max, number(s.max));
  shown.acquired.title = exact.format(s.acquired);
  shown.max.title = exact.format(s.max);
  say(shown.over, s.acquired > s.max ? `over by ${number(s.acquired - s.max)}` : "");
  root.classList.toggle("idle", s.acquired === 0 && s.waiting === 0);
  const badges = badgesOf(s);
  if (shown.badges.said !== badges.join()) {
    shown.badges.said = badges.join();
    shown.badges.replaceChildren(...badges.map((badge) => element("span", badge, badge)));
  }
  const bar = $(".bar", root);
  const whole = Math.max(s.max, s.acquired);
  bar.style.setProperty("--acquired", `${(100 * Math.min(s.acquired, s.max)) / whole || 0}%`);
  bar.style.setProperty("--max", `${(100 * s.max) / whole || 0}%`);
  // So few permits can be told apart, as in the icon.
  bar.style.setProperty("--permits", whole);
  bar.classList.toggle("permits", whole > 1 && whole <= 24);
  bar.classList.toggle("over", s.acquired > s.max);
}

export const isResized = (s) => s.configured !== null && s.configured.max !== s.max;

// Draws the last fifteen minutes, and says them in words. Returns the scale.
export function drawPlot(svg, s) {
  const drawn = [s.name, state.historyAt, s.acquired, s.pending, s.max].join();
  if (svg.drawn === drawn) return svg.scale;
  svg.drawn = drawn;
  const all = state.history?.semaphores ?? {};
  const nothing = new Array(state.history?.peers.length ?? 0).fill(0);
  const idle = { acquired: nothing, pending: nothing };
  const past = Object.hasOwn(all, s.name) ? all[s.name] : idle;
  const acquired = [...past.acquired, s.acquired];
  const pending = [...past.pending, s.pending];
  const [most, longest] = [Math.max(...acquired), Math.max(...pending)];
  const top = Math.max(s.max, most, longest, 1) * 1.06;
  const heightOf = (value) => Math.round(1000 - (1000 * value) / top) / 10;
  const paths = [
    area(acquired.map((n) => Math.min(n, s.max)), heightOf, 100),
    most > s.max ? area(acquired.map((n) => Math.max(n, s.max)), heightOf, heightOf(s.max)) : "",
    `M0 ${heightOf(s.max)}H${SLOTS}`,
    longest ? steps(pending, (n) => (n ? heightOf(n) : 110)) : "", // Nought is out of sight.
  ];
  for (const [index, path] of paths.entries()) svg.children[index].setAttribute("d", path);
  const words = `The last fifteen minutes: acquired at most ${number(most)}, pending at most ` +
    `${number(longest)}. Now ${number(s.acquired)} of ${number(s.max)}, ` +
    `and ${number(s.pending)} pending.`;
  svg.setAttribute("aria-label", words);
  return (svg.scale = { heightOf, peak: Math.max(most, longest) });
}

// Steps, for a sample says nothing about the time until the next; along the right edge.
function steps(values, heightOf) {
  let x = SLOTS - values.length;
  let path = `M${x} ${heightOf(values[0])}`;
  for (const value of values) {
    path += `V${heightOf(value)}H${(x += 1)}`;
  }
  return path;
}

const area = (values, heightOf, foot) =>
  `${steps(values, heightOf)}V${foot}H${SLOTS - values.length}Z`;

function badgesOf(s) {
  return [s.paused && "paused", s.source === "removed" && "removed",
    isResized(s) && "resized"].filter(Boolean);
}

// ---------------------------------------------------------------- the list

function showSummary(all) {
  const waiting = all.filter((s) => s.waiting);
  const shown = parts($("#summary"));
  const figures = {
    semaphores: all.length,
    used: all.filter((s) => s.acquired).length,
    waiting: waiting.reduce((sum, s) => sum + s.waiting, 0),
    over: all.filter((s) => s.acquired > s.max).length,
    paused: all.filter((s) => s.paused).length,
  };
  for (const [key, value] of Object.entries(figures)) {
    say(shown[key], number(value));
    shown[key].classList.toggle("nought", value === 0);
  }
  const longest = Math.max(-1, ...waiting.map((s) => milliseconds(s.longest_pending)));
  shown.longest.classList.toggle("nought", longest < 0);
  if (longest < 0) still(shown.longest, "none");
  else tick(shown.longest, longest);
  toggle($("#summary"), all.length > 0);
  document.title = figures.waiting ? `${number(figures.waiting)} waiting - Throttle` : "Throttle";
}

function showList() {
  const all = state.semaphores;
  const isMany = all.length > MANY;
  if (!order.chosen) order.value = isMany ? "attention" : "name";
  const found = arrange(all);
  const rows = found.slice(0, MOST_ROWS);
  document.body.classList.toggle("many", isMany);
  toggle($("#tools"), all.length > 1);
  toggle($(".filter"), isMany);
  toggle($("#captions"), isMany && rows.length > 0);
  const cut = rows.length < found.length ? `, the first ${number(MOST_ROWS)} are shown` : "";
  const share = `${number(found.length)} of ${number(all.length)}`;
  say($("#shown"), cut || found.length < all.length ? `${share}${cut}` : "");
  reconcile(list, rows, (s) => s.name, makeRow, fillRow);
}

// Rows do not change places under the hand of somebody who is about to click or read.
function arrange(all) {
  const wanted = $("#filter").value.toLowerCase();
  const found = all.filter((s) => s.name.toLowerCase().includes(wanted)).sort(byName);
  if (order.value === "name") return found;
  const isCalm = performance.now() - touchedAt > 2000;
  if (isCalm) ranks = new Map(all.map((s) => [s.name, rank(s)]));
  const rankOf = (s) => ranks.get(s.name) ?? rank(s);
  return found.sort((a, b) => rankOf(b) - rankOf(a));
}

const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

// Over-committed first, then whoever waits longest, then what is out of the ordinary.
function rank(s) {
  if (s.acquired > s.max) return 6e15 + milliseconds(s.longest_pending);
  if (s.waiting) return 3e15 + milliseconds(s.longest_pending);
  if (s.paused || s.source === "removed") return 3;
  if (s.acquired === 0) return 0;
  return s.acquired === s.max ? 2 : 1;
}

function makeRow({ name }) {
  const row = copyOf("#row");
  const anchor = parts(row).name;
  anchor.textContent = anchor.title = visible(name);
  anchor.href = `#/semaphore/${encodeURIComponent(name)}`;
  return row;
}

function fillRow(row, s) {
  const shown = parts(row);
  showUse(row, s);
  if (s.waiting) {
    say(shown.queue, `${number(s.waiting)} waiting for ${permits(s.pending)}`);
    tick(shown.longest, milliseconds(s.longest_pending));
  } else {
    say(shown.queue, "nobody waits");
    still(shown.longest);
  }
  row.classList.toggle("waits", s.waiting > 0);
  drawPlot($(".plot", row), s);
}

order.chosen = remember("order") !== null;
if (order.chosen) order.value = remember("order");
order.onchange = () => {
  order.chosen = true;
  remember("order", order.value);
  touchedAt = -Infinity;
  showList();
};
$("#filter").oninput = showList;
$("#tools").onsubmit = (event) => event.preventDefault();
for (const kind of ["pointermove", "keydown"]) {
  list.addEventListener(kind, () => (touchedAt = performance.now()));
}

// ---------------------------------------------------------------- the first steps

function showFirst(isUnused) {
  const box = $("#first");
  if (isUnused && box.hidden) {
    const url = new URL(".", location).href.replace(/\/$/, "");
    const { name } = state.semaphores.find((s) => s.max > 0) ?? state.semaphores[0];
    const shown = parts(box);
    // What JSON quotes, Python reads as it is meant.
    say(shown.python, `from throttle_client import lock\n\nwith lock("${url}", ` +
      `${JSON.stringify(name)}):\n    input("It is ours. Enter gives it back. ")`);
    const path = encodeURIComponent(name)
      .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
    say(shown.curl, `peer=$(curl -s --json '{"expires_in": "5m"}' "${url}/new_peer")\n` +
      `curl -s -X PUT --json 1 "${url}/peers/$peer/${path}?block_for=10s"\n` +
      `curl -s -X DELETE "${url}/peers/$peer"`);
    box.open = remember("first") !== "closed";
  }
  toggle(box, isUnused);
}

// Without the rights for the clipboard, which pages have over HTTPS or from the same machine only,
// the text is at least selected.
async function copy(button) {
  const code = $("code", button.parentElement);
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

// Keeps what people chose, and tells it. Some browsers forbid that; then nothing was chosen.
function remember(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(`throttle-${key}`, value);
    return localStorage.getItem(`throttle-${key}`);
  } catch {
    return null;
  }
}

$("#first").ontoggle = ({ target }) => {
  if (!target.hidden) remember("first", target.open ? "open" : "closed");
};
for (const button of document.querySelectorAll(".copy")) button.onclick = () => copy(button);
