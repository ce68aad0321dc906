// The opened semaphore: who holds it, who waits for it, and what has happened since it was opened.
// The address of the page says which one it is.
//
// What its buttons do to the server is left to `dashboard.js`.

import { drawPlot, isResized, rowOf, showUse } from "./list.js";
import { hurry, parse, soon, state } from "./server.js";
import { $, called, clock, copyOf, element, milliseconds, number, parts, permits, precisely,
  reconcile, say, spellLocks, tick, toggle, visible } from "./words.js";

const EVENTS_SHOWN = 20;

export const drawer = $("#drawer");

// Opens the semaphore that the address names, or none.
export function route() {
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
  hurry();
}

export function showDrawer() {
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

function readAddress() {
  const [, name] = /^#\/semaphore\/(.*)$/s.exec(location.hash) ?? [];
  try {
    return name === undefined ? null : decodeURIComponent(name);
  } catch {
    return null;
  }
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
  button.peer = peer;
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

function showAdmin(s) {
  const input = $("#new-max");
  if (!input.isTouched) input.value = s.max;
  say($("#pause"), s.paused ? "Resume" : "Pause");
  $("#restore").disabled = s.configured === null || !(s.paused || isResized(s));
}

$("#new-max").oninput = ({ target }) => (target.isTouched = true);
$("#more").onclick = () => {
  state.limit = 1000;
  soon();
};
$(".close", drawer).onclick = () => drawer.close();

// The address follows, however the drawer was closed. The browser brings the focus back to where it
// was before; where that was nowhere, for the page came with this address, it goes to the row.
drawer.onclose = () => {
  const row = rowOf(state.open);
  if (readAddress() !== null) history.pushState(null, "", location.pathname + location.search);
  route();
  if (row && document.activeElement === document.body) $("a", row).focus();
};
window.addEventListener("hashchange", route);
