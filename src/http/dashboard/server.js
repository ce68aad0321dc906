// The link to the server: what is known of it, how it is asked, and when. One loop asks how things
// are; the server's events only say that it is time to ask. Nothing is ever reckoned from the clock
// of this machine: durations come from the server, and go on ticking here from their arrival.
//
// Of the page it shows only how the server itself is; what the server answers is left to whoever
// starts the loop.

import { $, element, parts, say, tick, toggle } from "./words.js";

const PACE_MS = 1000; // Between two refreshes, at least.
const POLL_MS = 15_000; // Between two refreshes where no event asks for one.
const GIVE_UP_MS = 10_000; // For an answer.
const LONGEST_BACKOFF_S = 30;
const KINDS = ["granted", "released", "pending", "cancelled", "expired", "restored", "resized"];
const EVENTS_KEPT = 1000;

// What is known, and what is asked for.
export const state = {
  semaphores: null, // The latest answer of /semaphores.
  history: null,
  historyAt: -Infinity,
  open: null, // The name of the opened semaphore.
  detail: undefined, // Its state; null where there is none such, undefined until it is known.
  limit: 100, // Of holders, and of the queue, that are asked for.
  events: [], // What has happened since it was opened, not yet read.
};

const link = {
  show: null, // Shows what was answered.
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
  grantingAt: -Infinity, // When it last said whether locks are granted.
  instance: null, // Of the server; another one means that it was started anew.
  version: null,
};

// Starts the loop, and calls `show` after each answer.
export function keepUp(show) {
  link.show = show;
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
  refresh();
}

// Asks for a refresh: at most one a second, and none before its time while the server is gone.
export function soon() {
  if (link.busy) link.again = true;
  else if (!link.failures) plan(Math.max(0, link.endedAt + link.pace - performance.now()));
}

// Asks for one at once: somebody waits in front of the screen.
export function hurry() {
  if (link.busy) link.again = link.isUrgent = true;
  else refresh();
}

export async function send(path, options = {}) {
  const signal = AbortSignal.timeout(GIVE_UP_MS);
  const response = await fetch(path, { cache: "no-store", signal, ...options });
  const instance = response.headers.get("Throttle-Instance");
  if (instance && instance !== link.instance) {
    link.instance = instance;
    link.grantingAt = state.historyAt = -Infinity;
    readVersion();
  }
  return response;
}

export async function get(path) {
  const response = await send(path);
  const text = await response.text();
  const isPlain = response.headers.get("Content-Type")?.startsWith("text/plain");
  if (!response.ok) throw new Refused((isPlain && text) || `HTTP ${response.status}`);
  return parse(text);
}

// Ids and tokens become text: they may be larger than what a JavaScript number holds, and half an
// id would release somebody else. Inside a JSON string, the quotes of the pattern are escaped.
export function parse(text) {
  return JSON.parse(text.replace(/"(peer|token|id)":\s*(\d+)/g, '"$1":"$2"'));
}

export const pathOf = (name) => `semaphores/${encodeURIComponent(name)}`;

class Refused extends Error {}

// A page of another version would misread what this server answers, so it loads itself anew.
async function readVersion() {
  const version = await send("version").then((response) => response.text(), () => null);
  if (version === null) return;
  if (link.version !== null && link.version !== version) location.reload();
  link.version = version;
  say($("#version"), `Throttle ${version}`);
}

// ---------------------------------------------------------------- the loop

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
  link.show();
}

function plan(ms) {
  clearTimeout(link.timer);
  link.timer = setTimeout(refresh, ms);
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

function hangUp() {
  link.source?.close();
  link.source = null;
  link.isLive = false;
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
  if (performance.now() < link.grantingAt + POLL_MS) return;
  const response = await send("health/granting");
  const text = await response.text();
  link.grantingAt = performance.now();
  toggle($("#recovery"), response.status === 503);
  if (response.status !== 503) return;
  // The text is the server's own, but for its milliseconds, which go on here.
  const [before, ms, after] = text.split(/(\d+)ms/);
  const left = element("b", "");
  parts($("#recovery")).text.replaceChildren(before, left, after ?? "");
  if (ms !== undefined) tick(left, Number(ms), -1);
  if (ms < POLL_MS) setTimeout(() => ((link.grantingAt = -Infinity), soon()), Number(ms) + 500);
}
