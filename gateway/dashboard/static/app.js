// The dashboard's script: times, keys, dialogs, theme, the stream's state, completion. No page needs it to be read.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---------------------------------------------------------------------------------------------------- times

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });

const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });

function spoken(at, now) {
  const seconds = Math.round((now - at) / 1000);
  const away = Math.abs(seconds);
  if (away < 1) return "now";
  const [size, unit] = UNITS.find(([least]) => away >= least);
  const text = `${Math.floor(away / size)} ${unit}`;
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

function told(each, at, now) {
  if (each.closest(".steps, .log")) return CLOCK.format(at);
  if (each.closest(".fires")) return WEEKDAY.format(at);
  return Math.abs(now - at) < 7 * 86400e3 ? spoken(at, now) : DAY.format(at);
}

function tellTimes(root = document) {
  const now = Date.now();
  for (const each of $$("time[datetime]", root)) {
    const at = Date.parse(each.dateTime);
    const text = told(each, at, now);
    if (each.textContent !== text) each.textContent = text;
    if (!each.dataset.local) {
      each.dataset.local = "yes";
      each.title = `${new Date(at).toLocaleString()} (${each.title})`;
    }
  }
}

setInterval(() => { if (!document.hidden) tellTimes(); }, 1000);
document.addEventListener("DOMContentLoaded", () => tellTimes());
document.addEventListener("htmx:after:swap", () => tellTimes());
document.addEventListener("visibilitychange", () => { if (!document.hidden) tellTimes(); });

// ---------------------------------------------------------------------------------------------------- the stream

const STATES = { live: "Live", lost: "Reconnecting", paused: "Paused", out: "Logged out", connecting: "Connecting" };

function tellStream(state) {
  const place = $("#connection");
  if (!place || place.dataset.state === state || place.dataset.state === "none") return;
  place.dataset.state = state === "out" ? "lost" : state;
  place.lastElementChild.textContent = STATES[state];
  place.title = STATES[state];
}

document.addEventListener("htmx:sse:after:connection", () => tellStream("live"));
document.addEventListener("htmx:sse:error", (event) => tellStream(event.detail.status === 401 ? "out" : "lost"));
document.addEventListener("htmx:error", (event) => { if (event.target.id === "live") tellStream("lost"); });
document.addEventListener("visibilitychange", () => tellStream(document.hidden ? "paused" : "connecting"));

// A stream whose first try failed is not tried again by the extension.
document.addEventListener("htmx:finally:request", (event) => {
  const live = $("#live");
  if (event.target !== live || event.detail.ctx.response?.status === 200) return;
  tellStream(event.detail.ctx.response?.status === 401 ? "out" : "lost");
  setTimeout(() => {
    const again = live.cloneNode(false);
    live.replaceWith(again);
    htmx.process(again);
  }, 2000 + 2000 * Math.random());
});

// ---------------------------------------------------------------------------------------------------- writes

document.addEventListener("htmx:config:request", (event) => {
  const name = `${document.body.dataset.csrf}=`;
  const token = document.cookie.split("; ").find((each) => each.startsWith(name));
  if (token) event.detail.ctx.request.headers["X-CSRF-Token"] = token.slice(name.length);
});

document.addEventListener("htmx:confirm", (event) => {
  const { ctx, issueRequest, dropRequest } = event.detail;
  event.preventDefault();
  const dialog = $("#confirm");
  $("#confirm-text").textContent = ctx.confirm;
  $("#confirm-yes").textContent = ctx.sourceElement.dataset.yes ?? "Confirm";
  const decide = (yes) => { dialog.close(); (yes ? issueRequest : dropRequest)(); };
  $("#confirm-yes").onclick = () => decide(true);
  $("#confirm-no").onclick = () => decide(false);
  dialog.oncancel = () => decide(false); // Escape; not `close`, which comes late, when the next question may be open
  dialog.showModal();
});

document.addEventListener("htmx:error", (event) => {
  if (event.target.id === "live" || !event.detail.ctx) return;
  const toast = document.createElement("div");
  toast.className = "toast bad";
  toast.dataset.toast = "";
  toast.innerHTML = "<p>The gateway does not answer.</p>";
  $("#toasts")?.append(toast);
});

document.addEventListener("htmx:after:swap", (event) => {
  const source = event.detail.ctx?.sourceElement ?? event.target;
  const sheet = $("#sheet");
  if (source?.matches?.("[data-sheet]") && !sheet.open) sheet.showModal();
  else if (sheet.open && !sheet.innerHTML.trim()) sheet.close(); // it is done: there is nothing left to ask
});

new MutationObserver((changes) => {
  for (const toast of changes.flatMap((change) => [...change.addedNodes])) {
    if (toast.nodeType === 1) setTimeout(() => toast.remove(), toast.matches(".bad") ? 12000 : 6000);
  }
}).observe($("#toasts"), { childList: true });

// ---------------------------------------------------------------------------------------------------- clicks

document.addEventListener("click", async (event) => {
  const target = event.target;
  const copy = target.closest("[data-copy]");
  if (copy) {
    await navigator.clipboard?.writeText(copy.dataset.copy);
    copy.setAttribute("data-copied", "");
    copy.title = "Copied";
    return;
  }
  if (target.closest("[data-dismiss]")) target.closest("[data-toast]").remove();
  if (target.closest("[data-close]")) target.closest("dialog")?.close();
  if (target.closest("[data-close-after]")) setTimeout(() => target.closest("dialog")?.close());
  if (target.closest("[data-reload]")) { event.preventDefault(); location.reload(); }
  if (target.closest("#help-button")) $("#help").showModal();
  if (target.closest("#theme")) nextTheme();
  if (target.closest("#menu")) {
    const open = $("#side").toggleAttribute("data-open");
    $("#menu").setAttribute("aria-expanded", open);
  }
  const row = target.closest("tr[data-href]");
  if (row && !target.closest("a, button, input") && !getSelection().toString()) location.href = row.dataset.href;
});

// ---------------------------------------------------------------------------------------------------- theme

const THEMES = { system: ["monitor", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

function drawTheme() {
  const chosen = document.documentElement.dataset.theme ?? "system";
  const [drawn, said] = THEMES[chosen];
  const use = $("#theme use");
  if (!use) return;
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${drawn}`));
  $("#theme").setAttribute("aria-label", `Theme: ${said}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const now = document.documentElement.dataset.theme ?? "system";
  const next = names[(names.indexOf(now) + 1) % names.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch { /* for this page only, then */ }
  drawTheme();
  document.dispatchEvent(new CustomEvent("theme"));
}

drawTheme();

// ---------------------------------------------------------------------------------------------------- keys

const PLACES = { o: "/", j: "/jobs", q: "/queues", w: "/workers", d: "/dead-letters", s: "/schedules", b: "/batches", c: "/cluster" };
let going = 0;

function rowAt() { return $("tr[data-at]"); }

function moveRow(step) {
  const rows = $$("[data-rows] tbody tr");
  if (!rows.length) return;
  const at = rows.indexOf(rowAt());
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  rowAt()?.removeAttribute("data-at");
  next.setAttribute("data-at", "");
  next.querySelector("a")?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function act(action) {
  if (document.body.hasAttribute("data-readonly")) return;
  const button = $(`#${action}`);
  if (button) { button.click(); return; }
  const job = rowAt()?.dataset.job;
  if (!job) return;
  const order = document.createElement("button");
  order.hidden = true;
  order.dataset.yes = action === "cancel" ? "Cancel the job" : "Retry";
  order.setAttribute("hx-post", `/jobs/${job}/${action}?from=list`);
  order.setAttribute("hx-swap", "none");
  if (action === "cancel") order.setAttribute("hx-confirm", "Cancel this job?");
  document.body.append(order);
  htmx.process(order);
  order.click();
  setTimeout(() => order.remove(), 60000);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open]")) return;
  const key = event.key;
  if (Date.now() - going < 1200 && PLACES[key]) { location.href = PLACES[key]; return; }
  going = 0;
  const does = {
    "/": () => { $("#q").focus(); $("#q").select(); },
    j: () => moveRow(1),
    k: () => moveRow(-1),
    r: () => act("retry"),
    c: () => act("cancel"),
    g: () => { going = Date.now(); },
    "?": () => $("#help").showModal(),
  }[key];
  if (does) { event.preventDefault(); does(); }
});

// ---------------------------------------------------------------------------------------------------- completion

document.addEventListener("alpine:init", () => {
  window.Alpine.data("search", () => ({
    at: -1,
    asked: 0,

    async type() {
      const number = ++this.asked;
      const text = this.$refs.input.value;
      await new Promise((resolve) => setTimeout(resolve, 90));
      if (number !== this.asked || document.activeElement !== this.$refs.input) return;
      let found = [];
      try {
        const answer = await fetch(`/jobs/complete?text=${encodeURIComponent(text)}`);
        if (answer.ok) found = await answer.json();
      } catch { /* no completions, then */ }
      if (number === this.asked) this.show(found.filter((each) => each !== text));
    },

    show(found) {
      this.at = -1;
      this.$refs.list.replaceChildren(...found.map((text, place) => {
        const option = document.createElement("li");
        option.id = `completion-${place}`;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        option.textContent = text;
        option.addEventListener("mousedown", (event) => { event.preventDefault(); this.take(text); });
        return option;
      }));
      this.$refs.list.hidden = !found.length;
      this.$refs.input.setAttribute("aria-expanded", String(Boolean(found.length)));
      this.$refs.input.removeAttribute("aria-activedescendant");
    },

    move(event) {
      const options = [...this.$refs.list.children];
      if (event.key === "Escape") {
        if (options.length) this.show([]);
        else this.$refs.input.blur();
        return;
      }
      if (!options.length) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        this.at = (this.at + (event.key === "ArrowDown" ? 1 : -1) + options.length) % options.length;
        options.forEach((option, place) => option.setAttribute("aria-selected", String(place === this.at)));
        this.$refs.input.setAttribute("aria-activedescendant", options[this.at].id);
        options[this.at].scrollIntoView({ block: "nearest" });
      } else if ((event.key === "Enter" || event.key === "Tab") && this.at >= 0) {
        event.preventDefault();
        this.take(options[this.at].textContent);
      }
    },

    take(text) {
      this.$refs.input.value = text.endsWith(":") ? text : `${text} `;
      this.type();
    },

    leave() { this.show([]); },
    close() { this.show([]); },
  }));
});
