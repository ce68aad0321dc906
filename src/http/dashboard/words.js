// How the page says things: words and numbers, and helpers for the document that shows them. What
// there is to say, and when, is left to the others.
//
// What comes from the server is text, never markup: `innerHTML` stands in none of these files.

export const exact = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const number = (n) => (n < 100_000 ? exact : compact).format(n);
export const permits = (n) => `${number(n)} ${n === 1 ? "permit" : "permits"}`;
export const milliseconds = (text) => Number.parseInt(text, 10);

export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (minutes < 1) return `${seconds} s`;
  if (hours < 1) return `${minutes} min ${two(seconds % 60)} s`;
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// For what is over, and may have been short.
export function precisely(ms) {
  if (ms < 1000) return `${ms} ms`;
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms);
}

const two = (n) => String(n).padStart(2, "0");

// A moment, as the server's clock has it, for comparing it with logs.
export function clock(at) {
  const moment = new Date(at);
  const isToday = moment.toDateString() === new Date().toDateString();
  return isToday ? moment.toLocaleTimeString("en-GB")
    : moment.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

// What cannot be seen, or turns the text around, would make two names look the same.
export function visible(name) {
  const text = name.replace(/[\0-\x1f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");
  return text.trim() === "" ? JSON.stringify(text) : text;
}

export const called = (peer) => peer.name ?? `peer ${peer.peer}`;

export const spellLocks = (locks) => Object.entries(locks)
  .map(([semaphore, count]) => `${number(count)} of ${visible(semaphore)}`).join(", ");

// ---------------------------------------------------------------- the document

export const $ = (selector, root = document) => root.querySelector(selector);

// The elements in which a copy of a template, or a part of the page, shows its data.
export function parts(root) {
  return (root.parts ??= Object.fromEntries(
    [...root.querySelectorAll("[data-of]")].map((node) => [node.dataset.of, node]),
  ));
}

// Touches the document only where something has changed; three hundred rows are asked every second.
export function say(node, text) {
  if (node.said !== text) node.textContent = node.said = text;
}

export function element(tag, text, className = "") {
  const node = document.createElement(tag);
  node.textContent = text;
  node.className = className;
  return node;
}

export function toggle(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

export const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);

// Makes the children of `parent` those of `items`, in their order. Children are kept and moved,
// never made anew, so that whoever has the focus on one or points at it is not disturbed.
export function reconcile(parent, items, keyOf, create, fill) {
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

const ticking = new Map(); // Element: when its duration was zero, and in which direction it goes.

export function tick(node, ms, direction = 1) {
  const zero = performance.now() - direction * ms;
  const old = ticking.get(node);
  // An answer that took a little longer shall not turn the clock back and forth.
  if (old && Math.abs(old.zero - zero) < 500) return;
  ticking.set(node, { zero, direction });
  say(node, duration(ms));
}

export function still(node, text = "") {
  ticking.delete(node);
  say(node, text);
}

setInterval(() => {
  const now = performance.now();
  const isStale = document.body.classList.contains("stale");
  for (const [node, { zero, direction }] of ticking) {
    if (!node.isConnected) ticking.delete(node);
    // While the server is gone, nobody knows whether what is shown still goes on.
    else if (isStale && !node.closest(".banner")) continue;
    else say(node, duration(direction * (now - zero)));
  }
}, 1000);
