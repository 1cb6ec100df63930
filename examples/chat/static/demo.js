/** What `--demo` adds: ways to break things, and the frames that go by. */

import { byId, h, setText, soon } from "./dom.js";

const FRAMES = 500;
/** How long "Cut my connection" keeps it cut, at least: long enough to be seen. */
const CUT_MS = 4000;

export class Demo {
  /** @param {import("/_trouper/trouper.js").Client} client */
  constructor(client) {
    this.client = client;
    this.drawer = byId("drawer");
    this.list = byId("frames");
    this.toggle_ = byId("demo-frames");
    /** Entries that are not in the list yet. @type {any[]} */
    this.fresh = [];
    this.held = false;
    this.draw = () => this._draw();
    this.bytes = { in: 0, out: 0 };
    byId("demo-bar").hidden = false;
    byId("demo-cut").addEventListener("click", () => client.debugDisconnect(CUT_MS));
    byId("demo-kill").addEventListener("click", () => this._kill());
    this.toggle_.addEventListener("click", () => this.toggle(this.drawer.hidden));
    byId("drawer-close").addEventListener("click", () => this.toggle(false));
    byId("frames-clear").addEventListener("click", () => this._clear());
    byId("frames-hold").addEventListener("click", () => this._hold());
    this.list.addEventListener("click", (/** @type {any} */ event) => this._show(event.target.closest("li")));
    this.list.addEventListener("keydown", (/** @type {any} */ event) => {
      if (event.key === "Enter" || event.key === " ") this._show(event.target.closest("li"));
    });
    client.trace((entry) => this._trace(entry));
  }

  render() {
    byId("demo-device").setAttribute("href", `/${location.hash}`);
  }

  /** @param {boolean} opened */
  toggle(opened) {
    this.drawer.hidden = !opened;
    document.body.classList.toggle("with-drawer", opened);
    this.toggle_.setAttribute("aria-expanded", String(opened));
    if (opened) {
      this._draw();
      this.drawer.focus();
    } else this.toggle_.focus();
  }

  close() {
    const was = !this.drawer.hidden;
    if (was) this.toggle(false);
    return was;
  }

  async _kill() {
    try {
      await fetch("/demo/kill", { method: "POST" });
    } catch {
      // It was killed before it could answer.
    }
  }

  /** @param {any} entry */
  _trace(entry) {
    if (entry.direction !== "note") this.bytes[entry.direction] += entry.bytes;
    this.fresh.push(entry);
    if (this.fresh.length > FRAMES) this.fresh.shift();
    if (!this.drawer.hidden) soon(this.draw);
  }

  _draw() {
    if (this.held) return;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    for (const entry of this.fresh.splice(0)) this.list.append(row(entry));
    while (this.list.children.length > FRAMES) this.list.firstElementChild.remove();
    setText(byId("frames-sum"), `in ${amount(this.bytes.in)} · out ${amount(this.bytes.out)}`);
    if (atEnd) this.list.scrollTop = this.list.scrollHeight;
  }

  _hold() {
    this.held = !this.held;
    byId("frames-hold").setAttribute("aria-pressed", String(this.held));
    this._draw();
  }

  _clear() {
    this.fresh = [];
    this.list.replaceChildren();
    byId("frame-json").hidden = true;
  }

  /** @param {any} item */
  _show(item) {
    if (!item) return;
    const json = byId("frame-json");
    json.hidden = false;
    json.textContent = JSON.stringify(item.frame, null, 1).slice(0, 4000);
  }
}

/** @param {any} entry */
function row({ direction, at, bytes: size, item }) {
  const element = h(
    "li",
    {
      tabindex: "0", title: new Date(at).toISOString(),
      data: { testid: "frame", direction, type: item.t, attempt: item.attempt ?? "", job: item.job ?? "" },
    },
    h("span", { class: "way", text: { in: "↓", out: "↑", note: "•" }[direction] }),
    h("span", { class: "type", text: item.t }),
    h("span", { class: "what", text: summary(item) }),
    h("span", { class: "bytes", text: direction === "note" ? "" : size }),
  );
  element.frame = item;
  return element;
}

/** What matters of an item, in a line. @param {any} item */
function summary(item) {
  const job = typeof item.job === "string" ? `${item.job.slice(0, 6)} ` : "";
  switch (item.t) {
    case "output": return `${job}attempt ${item.attempt} · ${item.from}→${item.to}`;
    case "attach": return `${job}attempt ${item.attempt} · from ${item.n}`;
    case "rewind": return `${job}attempt ${item.attempt} · keep ${item.keep}`;
    case "output.end": return `${job}attempt ${item.attempt} · ${item.entries} entries`;
    case "progress": return `${job}attempt ${item.attempt} · ${item.done}/${item.total ?? "?"}`;
    case "ack": return `sent ${item.sent} · feed ${item.feed}`;
    case "feed": return `${item.prev}→${item.seq}${rows(item)}`;
    case "snapshot": return `at ${item.seq}${rows(item)}`;
    case "hello": return item.feed ? `holds feed ${item.feed.seq}` : "holds nothing";
    case "welcome": return `session ${String(item.session).slice(0, 6)} of ${item.user}`;
    case "submit": return `${item.job} ${item.key.slice(0, 6)}`;
    case "reply": return `${item.id} ${item.error ? item.error.code : "ok"}`;
    case "closed": return `${item.code} ${item.reason}`;
    case "retry": return `in ${item.in_ms} ms`;
    default: return `${job}${item.id ?? ""}`;
  }
}

/** @param {any} item */
function rows({ jobs, notifications }) {
  const parts = [jobs.length && ` · ${jobs.map((job) => job.state).join(", ")}`, notifications.length && ` · ${notifications.length} notified`];
  return parts.filter(Boolean).join("");
}

/** Bytes with their unit. @param {number} count */
function amount(count) {
  return count < 10_000 ? `${count} B` : count < 1e6 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}
