/** Says when the connection is lost, when it tries again, and when it is back. */

import { byId, setText } from "./dom.js";

const BACK_MS = 2500;

export class ConnectionView {
  /** @param {import("/_trouper/trouper.js").Client} client */
  constructor(client) {
    this.client = client;
    this.root = byId("connection");
    this.text = byId("connection-text");
    this.lost = false;
    /** @type {any} */
    this.timer = null;
    this.ticking = false;
    byId("connection-try").addEventListener("click", () => client.reconnect());
    client.subscribe(() => this.render());
    this.render();
  }

  render() {
    const { status, code, reason } = this.client.connection;
    const before = this.root.dataset.status;
    this.root.dataset.status = status;
    document.documentElement.dataset.connection = status; // what looks live pales while nothing can come
    byId("connection-try").hidden = !(status === "waiting" || (status === "closed" && code !== 4501));
    byId("connection-login").hidden = !(status === "closed" && code === 4501);
    if (status === "waiting") this._lost();
    else if (status === "connecting") setText(this.text, this.lost ? "Connection lost; your work is safe. Trying again…" : "Connecting…");
    else if (status === "closed") setText(this.text, code === 4501 ? "You are not logged in any more." : `The server ended this connection: ${reason || code}`);
    else if (before !== "open") this._open();
  }

  _lost() {
    this.lost = true;
    this.root.dataset.back = "false";
    clearTimeout(this.timer);
    const left = Math.ceil(((this.client.connection.retryAt ?? 0) - this.client.now()) / 1000);
    const when = left > 0 ? `in ${left} s` : "now";
    setText(this.text, `Connection lost; your work is safe. Trying again ${when}.`);
    this.timer = setTimeout(() => this.render(), 250);
  }

  _open() {
    clearTimeout(this.timer);
    setText(this.text, this.lost ? "Connected again." : "");
    this.root.dataset.back = String(this.lost);
    this.lost = false;
    this.timer = setTimeout(() => {
      this.root.dataset.back = "false";
      setText(this.text, "");
    }, BACK_MS);
  }
}
