// Fills the page that `GET /` shows, and keeps it true. One loop asks the server how things are;
// its events only say that it is time to ask. Nothing is ever reckoned from the clock of this
// machine: durations come from the server, and go on ticking here from their arrival.
//
// What comes from the server is text, never markup: no `innerHTML` in this file.

const PACE_MS = 1000; // Between two refreshes, at least.
const POLL_MS = 15_000; // Between two refreshes where no event asks for one.
const GIVE_UP_MS = 10_000; // For an answer.
const LONGEST_BACKOFF_S = 30;
const SLOTS = 91; // Of a plot: ninety samples of ten seconds, and the present.
const MANY = 12; // More semaphores than these are shown as dense rows, with a filter.
const MOST_ROWS = 1000;
const KINDS = ["granted", "released", "pending", "cancelled", "expired", "restored",
  "resized"];
const EVENTS_KEPT = 1000;
const EVENTS_SHOWN = 20;

const state = {
  semaphores: null, // The latest answer of /semaphores.
  history: null,
  historyAt: -Infinity,
  grantingAt: -Infinity,
  instance: null,
  version: null,
  open: null, // The name of the opened semaphore.
  detail: undefined, // Its state; null where there is none such, undefined until it is known.
  limit: 100, // Of holders, and of the queue, that are asked for.
  events: [],
  ranks: new Map(),
  touchedAt: -Infinity,
  token: null, // Of the administrator; in memory only.
};

// ---------------------------------------------------------------- words

const exact = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const number = (n) => (n < 100_000 ? exact : compact).format(n);
const permits = (n) => `${number(n)} ${n === 1 ? "permit" : "permits"}`;
const two = (n) => String(n).padStart(2, "0");
const milliseconds = (text) => Number.parseInt(text, 10);

function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (minutes < 1) return `${seconds} s`;
  if (hours < 1) return `${minutes} min ${two(seconds % 60)} s`;
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// For what is over, and may have been short.
function precisely(ms) {
  if (ms < 1000) return `${ms} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

// What cannot be seen, or turns the text around, would make two names look the same.
function visible(name) {
  const text = name.replace(/[\0-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");
  return text.trim() === "" ? JSON.stringify(text) : text;
}

const spellLocks = (locks) => Object.entries(locks)
  .map(([semaphore, count]) => `${number(count)} of ${visible(semaphore)}`).join(", ");

const called = (peer) => peer.name ?? `peer ${peer.peer}`;
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

// ---------------------------------------------------------------- the document

const $ = (selector, root = document) => root.querySelector(selector);
const list = $("#list");
const drawer = $("#drawer");

// The elements in which a copy of a template, or a part of the page, shows its data.
function parts(root) {
  return (root.parts ??= Object.fromEntries(
    [...root.querySelectorAll("[data-of]")].map((node) => [node.dataset.of, node]),
  ));
}

// Touches the document only where something has changed; three hundred rows are asked every second.
function say(node, text) {
  if (node.said !== text) node.textContent = node.said = text;
}

function element(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

function toggle(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

const ticking = new Map(); // Element: when its duration was zero, and in which direction it goes.

function tick(node, ms, direction = 1) {
  const zero = performance.now() - direction * ms;
  const old = ticking.get(node);
  // An answer that took a little longer shall not turn the clock back and forth.
  if (old && Math.abs(old.zero - zero) < 500) return;
  ticking.set(node, { zero, direction });
  say(node, duration(ms));
}

function still(node, text = "") {
  ticking.delete(node);
  say(node, text);
}

setInterval(() => {
  const now = performance.now();
  for (const [node, { zero, direction }] of ticking) {
    if (!node.isConnected) ticking.delete(node);
    // While the server is gone, nobody knows whether what is shown still goes on.
    else if (link.failures && !node.closest(".banner")) continue;
    else say(node, duration(direction * (now - zero)));
  }
}, 1000);

// Makes the children of `parent` those of `items`, in their order. Children are kept and moved,
// never made anew, so that whoever has the focus on one or points at it is not disturbed.
function reconcile(parent, items, keyOf, create, fill) {
  const old = parent.kept ?? new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Map();
  for (const item of items) {
    const known = old.get(keyOf(item));
    const node = known ?? create(item);
    if (!known && parent.kept) node.classList.add("fresh");
    kept.set(keyOf(item), node);
    fill(node, item);
  }
  for (const [key, node] of old) if (!kept.has(key)) node.remove();
  let next = parent.firstElementChild;
  for (const node of kept.values()) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  parent.kept = kept;
  if (focused && focused !== document.activeElement) {
    (focused.isConnected ? focused : $("#opened")).focus({ preventScroll: true });
  }
}

const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);

// Tells how an action went, where the person is looking.
function tell(text, isBad = false) {
  const message = drawer.open ? $(".message", drawer) : $("#message");
  clearTimeout(message.timer);
  message.textContent = text;
  message.classList.toggle("bad", isBad);
  message.hidden = false;
  if (!isBad) message.timer = setTimeout(() => (message.hidden = true), 10_000);
}

// ---------------------------------------------------------------- the server

class Refused extends Error {}

async function send(path, options = {}) {
  const signal = AbortSignal.timeout(GIVE_UP_MS);
  const response = await fetch(path, { cache: "no-store", signal, ...options });
  const instance = response.headers.get("Throttle-Instance");
  if (instance && instance !== state.instance) {
    Object.assign(state, { instance, historyAt: -Infinity, grantingAt: -Infinity });
    readVersion();
  }
  return response;
}

// Ids and tokens become text: they may be larger than what a JavaScript number holds, and half an
// id would release somebody else. Inside a JSON string, the quotes of the pattern are escaped.
function parse(text) {
  return JSON.parse(text.replace(/"(peer|token|id)":\s*(\d+)/g, '"$1":"$2"'));
}

async function get(path) {
  const response = await send(path);
  const text = await response.text();
  const isPlain = response.headers.get("Content-Type")?.startsWith("text/plain");
  if (!response.ok) throw new Refused((isPlain && text) || `HTTP ${response.status}`);
  return parse(text);
}

const pathOf = (name) => `semaphores/${encodeURIComponent(name)}`;

// A page of another version would misread what this server answers, so it loads itself anew.
async function readVersion() {
  const version = await send("version").then((response) => response.text(), () => null);
  if (version === null) return;
  if (state.version !== null && state.version !== version) location.reload();
  state.version = version;
  say($("#version"), `Throttle ${version}`);
}

// ---------------------------------------------------------------- keeping up

const link = {
  timer: 0,
  busy: false,
  again: false, // Something happened since the refresh began that is on its way.
  isUrgent: false, // Somebody waits in front of the screen.
  endedAt: -Infinity,
  pace: PACE_MS,
  failures: 0, // In a row.
  goodAt: 0, // When the server last answered.
  source: null, // The stream of events, while there is one.
  isLive: false,
  breaks: 0, // Of the stream, in a row.
  streamAt: 0, // Before that, no other stream is tried.
};

function plan(ms) {
  clearTimeout(link.timer);
  link.timer = setTimeout(refresh, ms);
}

// Asks for a refresh: at most one a second, and none before its time while the server is gone.
function soon() {
  if (link.busy) link.again = true;
  else if (!link.failures) plan(Math.max(0, link.endedAt + link.pace - performance.now()));
}

async function refresh() {
  clearTimeout(link.timer);
  if (link.busy || document.hidden) return;
  Object.assign(link, { busy: true, again: false, isUrgent: false });
  const began = performance.now();
  const opened = state.open;
  try {
    const [semaphores, detail] = await Promise.all([get("semaphores"), readDetail(opened),
      readHistory(), readGranting()]);
    state.semaphores = semaphores;
    if (opened === state.open) state.detail = detail;
    Object.assign(link, { failures: 0, goodAt: performance.now() });
    listen();
  } catch (error) {
    lose(error);
  }
  link.busy = false;
  link.endedAt = performance.now();
  // A slow machine, or a slow network, gets the time that it needs.
  link.pace = Math.max(PACE_MS, 4 * (link.endedAt - began));
  showLink();
  if (link.failures) return;
  const unheard = link.source ? POLL_MS : Math.max(PACE_MS, link.streamAt - link.endedAt);
  plan(link.isUrgent ? 0 : link.again ? link.pace : Math.min(POLL_MS, unheard));
  show();
}

function lose(error) {
  hangUp();
  link.failures += 1;
  // Not all pages that watch this server shall come back at the same moment.
  const seconds = Math.min(LONGEST_BACKOFF_S, 2 ** link.failures) * (0.75 + Math.random() / 2);
  plan(seconds * 1000);
  const shown = parts($("#lost"));
  const refused = error instanceof Refused ? ` (${error.message.slice(0, 200)})` : "";
  say(shown.what, `The server does not answer${refused}.`);
  toggle(shown.old, state.semaphores !== null);
  tick(shown.age, performance.now() - link.goodAt);
  tick(shown.next, seconds * 1000, -1);
}

function showLink() {
  const isLost = link.failures > 0;
  toggle($("#lost"), isLost);
  document.body.classList.toggle("stale", isLost);
  const words = isLost ? "No answer" : link.isLive ? "Live" : "Every 15 s";
  for (const node of document.querySelectorAll(".link")) {
    say(node, words);
    node.className = `link ${isLost ? "bad" : link.isLive ? "good" : ""}`;
  }
}

function hangUp() {
  link.source?.close();
  link.source = null;
  link.isLive = false;
}

// Where the stream breaks although the server answers, it is tried again less and less often.
function listen() {
  if (link.source || document.hidden || performance.now() < link.streamAt) return;
  const source = (link.source = new EventSource("events"));
  let openedAt = Infinity;
  source.onopen = () => {
    openedAt = performance.now();
    link.isLive = true;
    showLink();
    soon();
  };
  source.onerror = () => {
    hangUp();
    link.breaks = performance.now() - openedAt > POLL_MS ? 0 : link.breaks + 1;
    link.streamAt = performance.now() + Math.min(60, 2 ** link.breaks - 1) * 1000;
    showLink();
    soon();
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, ({ data }) => {
      // Most of them are never shown, and are thus not even read.
      if (state.open !== null) state.events.push({ kind, data });
      if (state.events.length > EVENTS_KEPT) state.events.splice(0, EVENTS_KEPT / 2);
      soon();
    });
  }
  for (const kind of ["reloaded", "missed"]) source.addEventListener(kind, soon);
}

async function readDetail(name) {
  if (name === null) return null;
  try {
    return await get(`${pathOf(name)}?limit=${state.limit}`);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

// The more there is to send, the less often; the newest value of each plot is always the present.
async function readHistory() {
  const every = Math.min(60, 10 * Math.ceil((state.semaphores?.length ?? 0) / 100 || 1)) * 1000;
  if (performance.now() < state.historyAt + every) return;
  try {
    state.history = await get("history");
    state.historyAt = performance.now();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
  }
}

async function readGranting() {
  if (performance.now() < state.grantingAt + POLL_MS) return;
  const response = await send("health/granting");
  const text = await response.text();
  state.grantingAt = performance.now();
  toggle($("#recovery"), response.status === 503);
  if (response.status !== 503) return;
  // The text is the server's own, but for its milliseconds, which go on here.
  const [before, ms, after] = text.split(/(\d+)ms/);
  const left = element("b", "");
  parts($("#recovery")).text.replaceChildren(before, left, after ?? "");
  if (ms !== undefined) tick(left, Number(ms), -1);
  if (ms < POLL_MS) setTimeout(() => ((state.grantingAt = -Infinity), soon()), Number(ms) + 500);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(link.timer);
    // A browser has few connections to one server, which hidden pages must not use up.
    hangUp();
  } else {
    refresh();
  }
});
window.addEventListener("online", refresh);
$("#retry").onclick = refresh;

// ---------------------------------------------------------------- all semaphores

function show() {
  const all = state.semaphores;
  const isUsed = all.some((s) => s.holders || s.waiting) ||
    Object.keys(state.history?.semaphores ?? {}).length > 0;
  toggle($("#none"), all.length === 0);
  showFirst(all.length > 0 && !isUsed);
  showSummary(all);
  showList();
  showDrawer();
}

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

// Over-committed first, then whoever waits longest, then what is out of the ordinary.
function rank(s) {
  if (s.acquired > s.max) return 6e15 + milliseconds(s.longest_pending);
  if (s.waiting) return 3e15 + milliseconds(s.longest_pending);
  if (s.paused || s.source === "removed") return 3;
  if (s.acquired === 0) return 0;
  return s.acquired === s.max ? 2 : 1;
}

// Rows do not change places under the hand of somebody who is about to click or read.
function arrange(all) {
  const order = $("#order").value;
  const wanted = $("#filter").value.toLowerCase();
  const found = all.filter((s) => s.name.toLowerCase().includes(wanted)).sort(byName);
  if (order === "name") return found;
  const isCalm = performance.now() - state.touchedAt > 2000;
  if (isCalm) state.ranks = new Map(all.map((s) => [s.name, rank(s)]));
  const rankOf = (s) => state.ranks.get(s.name) ?? rank(s);
  return found.sort((a, b) => rankOf(b) - rankOf(a));
}

function showList() {
  const all = state.semaphores;
  const isMany = all.length > MANY;
  if (!$("#order").chosen) $("#order").value = isMany ? "attention" : "name";
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

// Badges, bar and figures, in a row or in the opened semaphore.
function showUse(root, s) {
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

function badgesOf(s) {
  return [s.paused && "paused", s.source === "removed" && "removed",
    isResized(s) && "resized"].filter(Boolean);
}

const isResized = (s) => s.configured !== null && s.configured.max !== s.max;

// ---------------------------------------------------------------- plots

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

// Draws the last fifteen minutes, and says them in words. Returns the scale.
function drawPlot(svg, s) {
  const drawn = [s.name, state.historyAt, s.acquired, s.pending, s.max].join();
  if (svg.drawn === drawn) return svg.scale;
  svg.drawn = drawn;
  const all = state.history?.semaphores ?? {};
  const past = Object.hasOwn(all, s.name) ? all[s.name] : null;
  const length = state.history?.peers.length ?? 0;
  const nothing = past ? null : new Array(length).fill(0);
  const acquired = [...(past?.acquired ?? nothing), s.acquired];
  const pending = [...(past?.pending ?? nothing), s.pending];
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

// ---------------------------------------------------------------- the opened semaphore

function readAddress() {
  const [, name] = /^#\/semaphore\/(.*)$/s.exec(location.hash) ?? [];
  try {
    return name === undefined ? null : decodeURIComponent(name);
  } catch {
    return null;
  }
}

function route() {
  const name = readAddress();
  if (name === state.open && drawer.open === (name !== null)) return;
  Object.assign(state, { open: name, detail: undefined, limit: 100, events: [] });
  for (const id of ["#holders", "#queue"]) {
    $(id).replaceChildren();
    $(id).kept = undefined;
  }
  if (name === null) return drawer.close();
  $("#opened").textContent = visible(name);
  $(".message", drawer).hidden = true;
  $("#new-max").isTouched = false;
  toggle($("#detail"), false);
  toggle($("#absent"), false);
  if (!drawer.open) drawer.showModal();
  drawer.scrollTop = 0;
  if (link.busy) link.again = link.isUrgent = true;
  else refresh();
}

function showDrawer() {
  const s = state.detail;
  toggle($("#absent"), state.open !== null && s === null);
  toggle($("#detail"), Boolean(s));
  if (!s) return;
  const detail = $("#detail");
  const shown = parts(detail);
  showUse(detail, s);
  shown.notes.replaceChildren(...notesOf(s).map((note) => element("li", note)));
  const { heightOf, peak } = drawPlot($(".plot", detail), s);
  say(shown.line, `max ${number(s.max)}`);
  shown.line.style.top = `${heightOf(s.max)}%`;
  // They would be written over each other where they are nearly the same.
  say(shown.peak, heightOf(s.max) - heightOf(peak) > 12 ? number(peak) : "");
  shown.peak.style.top = `${heightOf(peak)}%`;
  say(shown.holders, s.holders ? number(s.holders) : "");
  say(shown.waiting, s.waiting ? `${number(s.waiting)} for ${permits(s.pending)}` : "");
  reconcile($("#holders"), s.held_by, (h) => h.peer, makePeer, fillHolder);
  reconcile($("#queue"), s.queue, (q) => q.peer, makePeer, fillWaiting);
  const hidden = Math.max(s.holders - s.held_by.length, s.waiting - s.queue.length);
  toggle($("#rest"), hidden > 0);
  toggle($("#more"), state.limit < 1000);
  say(parts($("#rest")).text, `The first ${number(state.limit)} of each are shown.`);
  showEvents();
  showAdmin(s);
}

function notesOf(s) {
  const notes = [];
  if (s.acquired > s.max) {
    notes.push("Over-committed: more is acquired than there is, after a restore or a lowered " +
      "max. Nothing is granted until that is gone.");
  }
  if (s.paused) notes.push("Paused: nothing is granted until somebody resumes it.");
  if (isResized(s)) notes.push(`Resized: the configuration says ${number(s.configured.max)}.`);
  if (s.source === "removed") {
    notes.push("It has left the configuration, and goes as soon as nobody holds it or waits.");
  }
  if (s.source === "template") notes.push("Made by a template of the configuration.");
  if (s.level !== 0) notes.push(`Level ${s.level}.`);
  return notes;
}

function makePeer(peer) {
  const node = copyOf("#peer");
  const shown = parts(node);
  shown.name.textContent = visible(called(peer));
  shown.id.textContent = peer.name === null ? "" : `peer ${peer.peer}`;
  const labels = Object.entries(peer.labels).map(([key, value]) => {
    const label = element("span", "");
    label.append(element("i", visible(key)), ` ${visible(value)}`);
    return label;
  });
  shown.labels.replaceChildren(...labels);
  const button = $(".release", node);
  button.ariaLabel = `Release ${called(peer)}`;
  button.onclick = () => release(peer);
  return node;
}

function fillPeer(node, peer, does, since) {
  const shown = parts(node);
  say(shown.count, permits(peer.count));
  say(shown.does, does);
  tick(shown.for, milliseconds(since));
  say(shown.since, clock(peer.since));
  shown.since.dateTime = shown.since.title = peer.since;
  tick(shown.lease, milliseconds(peer.expires_in), -1);
}

function fillHolder(node, holder) {
  fillPeer(node, holder, "held", holder.held_for);
  say(parts(node).token, holder.token === null ? "no token" : `token ${holder.token}`);
}

function fillWaiting(node, waiting) {
  fillPeer(node, waiting, "waiting", waiting.pending_for);
  say(parts(node).position, `${waiting.position}.`);
  // What an ask for several semaphores has got already is kept for it until it has got the rest.
  const { [state.open]: here, ...others } = waiting.waits_for;
  const does = here === undefined ? "reserved, until it gets" : "waits for";
  const isAlone = Object.keys(others).length === 0;
  say(parts(node).needs, isAlone ? "" : `${does} ${spellLocks(waiting.waits_for)}`);
}

// A moment, as the server's clock has it, for comparing it with logs.
function clock(at) {
  const moment = new Date(at);
  const isToday = moment.toDateString() === new Date().toDateString();
  return isToday ? moment.toLocaleTimeString("en-GB")
    : moment.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

function showEvents() {
  const happened = state.events
    .map(({ kind, data }) => ({ kind, ...parse(data) }))
    .filter((event) => event.semaphore === state.open);
  const shown = happened.slice(-EVENTS_SHOWN).reverse();
  $("#events").replaceChildren(...shown.map((event) => {
    const item = element("li", "", event.kind);
    item.append(element("time", clock(event.at)), element("span", event.kind, "kind"),
      element("span", event.kind === "resized" ? spellResized(event) : spellLock(event)));
    return item;
  }));
}

const spellResized = ({ max, paused, by }) =>
  `${permits(max)}${paused ? ", paused" : ""}, by ${by}`;

function spellLock(event) {
  const ms = milliseconds(event.after);
  const after = ms > 0 ? `, after ${precisely(ms)}` : "";
  return `${visible(called(event))}: ${permits(event.count)}${after}`;
}

// ---------------------------------------------------------------- the operator's hand

// Shows a question and waits for the answer. Escape says no.
function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function confirmed(question, body, yes) {
  const dialog = $("#confirm");
  $("#question").textContent = question;
  parts(dialog).body.replaceChildren(...body.map((text) => element("p", text)));
  $(".danger", dialog).textContent = yes;
  return ask(dialog);
}

async function askForToken(why) {
  const secret = $("#secret");
  parts($("#token")).why.textContent = why;
  secret.value = "";
  const isGiven = await ask($("#token"));
  state.token = secret.value;
  secret.value = "";
  return isGiven;
}

// Asks an administrative route, and for the token where the server wants one. Answers what the
// server said; or nothing if it refused, which the person has been told.
async function administer(method, path, body) {
  try {
    for (;;) {
      const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
      if (body) headers["Content-Type"] = "application/json";
      const response = await send(path, { method, headers, body });
      const text = await response.text();
      if (response.ok) return parse(text);
      if (response.status !== 401) return void tell(text || `HTTP ${response.status}`, true);
      if (!(await askForToken(state.token ? "The server does not accept that one."
        : "The server wants the token that its configuration calls admin.token."))) return;
    }
  } catch (error) {
    tell(`The server does not answer (${error.message}). It may have done it all the same.`, true);
  } finally {
    soon();
  }
}

async function release(peer) {
  const name = visible(called(peer));
  const body = ["All of its locks go at once, and it cannot come back until its lease would have " +
    "ended. Its program is not stopped: see to it that it does no harm without the lock."];
  try {
    const { acquired, pending } = await get(`peers/${peer.peer}`);
    if (Object.keys(pending).length) body.unshift(`It waits for ${spellLocks(pending)}.`);
    if (Object.keys(acquired).length) body.unshift(`It holds ${spellLocks(acquired)}.`);
  } catch {
    // What else it holds is good to know, and no reason not to release it.
  }
  if (!(await confirmed(`Release ${name}?`, body, "Release for good"))) return;
  const said = await administer("DELETE", `peers/${peer.peer}?revoke=true`);
  if (said !== undefined) tell(said === "Peer released" ? `${name} is released.` : `${said}.`);
}

function showAdmin(s) {
  const input = $("#new-max");
  if (!input.isTouched) input.value = s.max;
  say($("#pause"), s.paused ? "Resume" : "Pause");
  $("#restore").disabled = s.configured === null || !(s.paused || isResized(s));
}

async function configure(method, change, done) {
  const changed = await administer(method, pathOf(state.open), change);
  if (!changed) return;
  $("#new-max").isTouched = false;
  if (state.detail?.name === changed.name) Object.assign(state.detail, changed);
  showDrawer();
  tell(done(changed));
}

$("#resize").onsubmit = (event) => {
  event.preventDefault();
  configure("PUT", `{"max":${BigInt($("#new-max").value)}}`,
    ({ max }) => `There are ${permits(max)} now.`);
};
$("#new-max").oninput = ({ target }) => (target.isTouched = true);
$("#pause").onclick = () => configure("PUT", JSON.stringify({ paused: !state.detail.paused }),
  ({ paused }) => (paused ? "Paused." : "Resumed."));
$("#restore").onclick = () => configure("DELETE", undefined,
  ({ max }) => `Back to the configuration: ${permits(max)}.`);

async function reload() {
  if (!(await confirmed("Reload the configuration?", ["The server reads its file again. " +
    "Semaphores that it no longer names serve those who hold or wait, and go."], "Reload"))) return;
  const report = await administer("POST", "reload");
  if (!report) return;
  const names = (list) => list.map(visible).join(", ");
  const lines = ["added", "changed", "removed"].filter((key) => report[key].length)
    .map((key) => `${key}: ${names(report[key])}`);
  for (const { semaphore, reason } of report.kept) lines.push(`${visible(semaphore)}: ${reason}`);
  if (report.needs_restart.length) lines.push(`needs a restart: ${names(report.needs_restart)}`);
  tell(["The configuration is reloaded.", ...(lines.length ? lines : ["Nothing changed."])]
    .join("\n"));
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

// ---------------------------------------------------------------- the start

// Keeps what people chose, and tells it. Some browsers forbid that; then nothing was chosen.
function remember(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(`throttle-${key}`, value);
    return localStorage.getItem(`throttle-${key}`);
  } catch {
    return null;
  }
}

const order = $("#order");
order.chosen = remember("order") !== null;
if (order.chosen) order.value = remember("order");
order.onchange = () => {
  order.chosen = true;
  remember("order", order.value);
  state.touchedAt = -Infinity;
  showList();
};
$("#filter").oninput = showList;
$("#tools").onsubmit = (event) => event.preventDefault();
for (const kind of ["pointermove", "keydown"]) {
  list.addEventListener(kind, () => (state.touchedAt = performance.now()));
}
$("#first").ontoggle = ({ target }) => {
  if (!target.hidden) remember("first", target.open ? "open" : "closed");
};
$("#more").onclick = () => {
  state.limit = 1000;
  soon();
};
$(".close", drawer).onclick = () => drawer.close();
$("#token .cancel").onclick = () => $("#token").close();
// The address follows, however the drawer was closed. The browser brings the focus back to where it
// was before; where that was nowhere, for the page came with this address, it goes to the row.
drawer.onclose = () => {
  const row = list.kept?.get(state.open);
  if (readAddress() !== null) history.pushState(null, "", location.pathname + location.search);
  route();
  if (row && document.activeElement === document.body) $("a", row).focus();
};
for (const button of document.querySelectorAll(".copy")) button.onclick = () => copy(button);
for (const button of document.querySelectorAll(".reload")) button.onclick = reload;
window.addEventListener("hashchange", route);

route();
refresh();
