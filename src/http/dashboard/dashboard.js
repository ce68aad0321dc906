// Starts the page that `GET /` shows, and is the operator's hand: it releases peers, pauses and
// resizes semaphores, reloads the configuration, and asks before what cannot be undone.
//
// How things are is left to the others: `server.js` asks for it, `list.js` and `drawer.js` show it.

import { drawer, route, showDrawer } from "./drawer.js";
import { showSemaphores } from "./list.js";
import { get, keepUp, parse, pathOf, send, soon, state } from "./server.js";
import { $, called, element, parts, permits, spellLocks, visible } from "./words.js";

let token = null; // Of the administrator; in memory only.

for (const id of ["#holders", "#queue"]) {
  $(id).onclick = ({ target }) => {
    if (target.peer) release(target.peer);
  };
}
$("#resize").onsubmit = (event) => {
  event.preventDefault();
  configure("PUT", `{"max":${BigInt($("#new-max").value)}}`,
    ({ max }) => `There are ${permits(max)} now.`);
};
$("#pause").onclick = () => configure("PUT", JSON.stringify({ paused: !state.detail.paused }),
  ({ paused }) => (paused ? "Paused." : "Resumed."));
$("#restore").onclick = () => configure("DELETE", undefined,
  ({ max }) => `Back to the configuration: ${permits(max)}.`);
for (const button of document.querySelectorAll(".reload")) button.onclick = reload;
$("#token .cancel").onclick = () => $("#token").close();

// The first refresh asks for the semaphore that the address names, too.
route();
keepUp(() => {
  showSemaphores();
  showDrawer();
});

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

async function configure(method, change, done) {
  const changed = await administer(method, pathOf(state.open), change);
  if (!changed) return;
  $("#new-max").isTouched = false;
  if (state.detail?.name === changed.name) Object.assign(state.detail, changed);
  showDrawer();
  tell(done(changed));
}

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

// Asks an administrative route, and for the token where the server wants one. Answers what the
// server said; or nothing if it refused, which the person has been told.
async function administer(method, path, body) {
  try {
    for (;;) {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      if (body) headers["Content-Type"] = "application/json";
      const response = await send(path, { method, headers, body });
      const text = await response.text();
      if (response.ok) return parse(text);
      if (response.status !== 401) return void tell(text || `HTTP ${response.status}`, true);
      if (!(await askForToken(token ? "The server does not accept that one."
        : "The server wants the token that its configuration calls admin.token."))) return;
    }
  } catch (error) {
    tell(`The server does not answer (${error.message}). It may have done it all the same.`, true);
  } finally {
    soon();
  }
}

async function askForToken(why) {
  const secret = $("#secret");
  parts($("#token")).why.textContent = why;
  secret.value = "";
  const isGiven = await ask($("#token"));
  token = secret.value;
  secret.value = "";
  return isGiven;
}

function confirmed(question, body, yes) {
  const dialog = $("#confirm");
  $("#question").textContent = question;
  parts(dialog).body.replaceChildren(...body.map((text) => element("p", text)));
  $(".danger", dialog).textContent = yes;
  return ask(dialog);
}

// Shows a question and waits for the answer. Escape says no.
function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// Tells how an action went, where the person is looking.
function tell(text, isBad = false) {
  const message = drawer.open ? $(".message", drawer) : $("#message");
  clearTimeout(message.timer);
  message.textContent = text;
  message.classList.toggle("bad", isBad);
  message.hidden = false;
  if (!isBad) message.timer = setTimeout(() => (message.hidden = true), 10_000);
}
